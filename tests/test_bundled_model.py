"""The models that come with the repository answer every task, and what they make moves like a body."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tasks
from mld import packaged
from mld.engine.pipeline import Pipeline
from mld.engine.token_spans import token_spans
from mld.errors import RequestError
from mld.evaluation.task import Setting
from mld.motion import kinematics
from mld.motion.motion import Motion
from tasks.lines import read_lines

ASSETS = Path(__file__).parents[1] / "mld" / "assets"
TALKERS, STREAMER = ("motiongpt", "motiongpt3"), "motionstreamer"
FAMILIES = (*TALKERS, STREAMER)
CREDIT = "mocap.cs.cmu.edu"


@pytest.fixture(scope="module", params=FAMILIES)
def pipeline(request) -> Pipeline:
    return Pipeline.load(ASSETS / request.param)


@pytest.fixture(scope="module")
def walk(pipeline: Pipeline) -> Motion:
    return pipeline.generate("a person walks forward", seconds=5, seed=1)


def test_folders_are_small_and_credited() -> None:
    folders = [ASSETS / family for family in FAMILIES]
    assert sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()) <= 61e6
    assert sum(path.stat().st_size for path in (ASSETS / STREAMER).iterdir()) <= 20e6
    for folder in folders:
        assert CREDIT in json.dumps(json.loads((folder / "provenance.json").read_text(encoding="utf-8")))
        assert CREDIT in (folder / "README.md").read_text(encoding="utf-8")
    assert CREDIT in (ASSETS.parents[1] / "README.md").read_text(encoding="utf-8")


def test_walking_goes_forward_on_its_feet(walk: Motion) -> None:
    root = walk.joints[:, 0]
    path = (root[-1] - root[0])[[0, 2]].norm()
    assert walk.num_frames == 5 * walk.fps
    assert 1.0 < path < 12.0, "walks, and does not fly off"
    assert path > 0.6 * (root[1:] - root[:-1])[:, [0, 2]].norm(dim=-1).sum(), "walks in one direction"
    heading = kinematics.heading(walk.joints, walk.skeleton)
    along = torch.stack((heading.sin(), heading.cos()), dim=-1).mean(0)
    assert along @ (root[-1] - root[0])[[0, 2]] > 0.5 * path, "walks where it looks"
    left, right = (walk.joints[:, walk.skeleton.index(name)] for name in ("l_ankle", "r_ankle"))
    ahead = ((left - right)[:, [0, 2]] @ along).sign()
    assert (ahead[1:] != ahead[:-1]).sum() >= 3, "the legs take turns"


# Largest standard deviation of a bone's length, metres. Positions are generated, not angles, so bones can stretch; the
# forearms do in a run that is longer than any the model has seen.
STRETCH = {"a person walks forward": 0.03, "someone jumps up": 0.03, "a person runs": 0.06, "a person dances": 0.03}


@pytest.mark.parametrize("text", STRETCH)
def test_motion_is_physically_sane(pipeline: Pipeline, text: str) -> None:
    motion = pipeline.generate(text, seconds=4, seed=0)
    joints = motion.joints
    assert torch.isfinite(joints).all()
    lowest = joints[..., 1].amin(1)
    assert lowest.min() > -0.25 and lowest.median() < 0.15, "feet stay near the floor"
    assert 0.4 < joints[:, 0, 1].median() < 1.2, "the pelvis is at the height of one"
    lengths = kinematics.bone_lengths(joints, motion.skeleton)
    assert (lengths.std(0) < STRETCH[text]).all(), "bones keep their lengths"
    speed = (joints[1:] - joints[:-1]).norm(dim=-1) * motion.fps
    assert speed.max() < 20.0 and speed.median() > 0.01, "it moves, at the speed of a person"


def test_a_seed_is_a_motion(pipeline: Pipeline, walk: Motion) -> None:
    again = pipeline.generate("a person walks forward", seconds=5, seed=1)
    other = pipeline.generate("a person walks forward", seconds=5, seed=2)
    assert torch.equal(again.joints, walk.joints)
    assert not torch.equal(other.joints, walk.joints)


def test_it_describes_what_it_made(pipeline: Pipeline, walk: Motion) -> None:
    if pipeline.model.family not in TALKERS:
        with pytest.raises(RequestError, match="does not answer with words for a motion"):
            pipeline.describe(walk)
        return
    caption = pipeline.describe(walk)
    assert "walk" in caption or "step" in caption or "stroll" in caption, caption


def test_it_goes_on_and_fills_gaps(pipeline: Pipeline, walk: Motion) -> None:
    head, tail = walk.crop(0, 32), walk.crop(70, 100)
    longer = pipeline.predict(head, seconds=4, seed=0)
    assert longer.num_frames == 4 * walk.fps and torch.equal(longer.joints[:32], head.joints)
    if pipeline.model.family not in TALKERS:
        with pytest.raises(RequestError, match="does not answer with motion for both ends"):
            pipeline.inbetween(head, tail, seconds=5, seed=0)
        return
    filled = pipeline.inbetween(head, tail, seconds=5, seed=0)
    assert filled.num_frames == 100
    assert torch.equal(filled.joints[:32], head.joints) and torch.equal(filled.joints[70:], tail.joints)
    step = (filled.joints[1:] - filled.joints[:-1]).norm(dim=-1).amax(-1)
    assert step[30:34].max() < 0.35 and step[68:72].max() < 0.35, "no jump at the joins (metres per frame)"


@pytest.mark.parametrize("task", ["recon", "pred", "inbetween"])
def test_the_shipped_requests_are_answered(pipeline: Pipeline, task: str) -> None:
    """Every bundled model, every line of the shipped file; the spans of the tokens lie where they were made."""
    layout, module = pipeline.model.tokenizer.layout, tasks.find(task)
    if task == "inbetween" and pipeline.model.family not in TALKERS:
        return  # refused: see the test above
    setting = Setting(pipeline.representation, layout.unit, packaged.demos(), None, 0)
    requests = [module.parse(text, setting) for _, text in read_lines(packaged.demos() / f"{task}.txt")]
    for answer in module.answers(pipeline, requests, batch_size=8):
        spans = token_spans(answer, layout)
        starts, stops = [start for start, *_ in spans], [stop for _, stop, _ in spans]
        assert starts[0] == answer.first_frame and starts[1:] == stops[:-1] and stops[-1] <= answer.motion.num_frames
        assert all(start < stop for start, stop, _ in spans)
        if task == "recon":
            assert starts[0] == 0 and stops[-1] == answer.motion.num_frames
        if task == "pred":
            given = len(answer.request.prompt[-1].joints)
            assert given - (layout.frames_per_token or 1) < starts[0] <= given and stops[-1] == answer.motion.num_frames
