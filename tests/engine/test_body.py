"""One avatar takes every motion that a model makes: bones and rest pose are the same in all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.example import Text
from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from tests.walking import walker

ASSETS = Path(__file__).parents[2] / "mld" / "assets"
DEMOS = Path(__file__).parents[2] / "demos/motions"
ACTIONS = ("walks", "runs", "jumps", "dances", "sits down", "boxes", "turns around", "kicks", "waves", "climbs")
PROMPTS = [f"a person {what}{how}" for what in ACTIONS for how in ("", " slowly")]


@pytest.fixture(scope="module", params=["motiongpt", "motiongpt3"])
def pipeline(request) -> Pipeline:
    return Pipeline.load(ASSETS / request.param)


def asked(text: str, seed: int = 0) -> Request:
    return Request((Text(text),), "motion", 40, seed)


def test_twenty_prompts_have_one_skeleton(pipeline: Pipeline) -> None:
    """Bone lengths of every frame, and the offsets of exported files, to 0.1 mm."""
    motions = [answer.motion for answer in pipeline.run([asked(text) for text in PROMPTS])]
    lengths = torch.cat([kinematics.bone_lengths(motion.joints, motion.skeleton) for motion in motions])
    assert (lengths.amax(0) - lengths.amin(0)).max() < 1e-4
    offsets = torch.stack([to_rig(motion).rig.offsets for motion in motions])
    assert (offsets.amax(0) - offsets.amin(0)).max() < 1e-4
    for motion in motions:
        assert motion.rotations is not None
        assert (to_rig(motion).positions() - motion.joints).abs().max() < 1e-3


def test_the_body_alone_changes(pipeline: Pipeline) -> None:
    """Features and tokens stay; joints stay near those of the network, feet as near to the floor."""
    (own,) = pipeline.run([asked("a person walks forward")])
    pipeline.bones = "clip"
    (free,) = pipeline.run([asked("a person walks forward")])
    pipeline.bones = "model"
    assert torch.equal(own.features, free.features) and torch.equal(own.tokens, free.tokens)
    assert free.motion.rotations is None
    apart = (own.motion.joints - free.motion.joints).norm(dim=-1)
    assert 1e-4 < apart.mean() < 0.05
    # the lower median of an even number of frames, as in the code: with the other sign it would be the upper one
    lowest = free.motion.joints[..., 1].amin(1) - own.motion.joints[..., 1].amin(1)
    assert lowest.median().abs() < 1e-3


def test_what_goes_on_from_a_motion_has_its_body(pipeline: Pipeline) -> None:
    """A child of three quarters the size goes on as a child; its own frames stay to the bit."""
    head = Motion(0.75 * walker(30), 20.0)
    whole = pipeline.predict(head, seconds=4)
    assert torch.equal(whole.joints[:30], head.joints)
    lengths = kinematics.bone_lengths(whole.joints, whole.skeleton)
    given = kinematics.bone_lengths(head.joints, head.skeleton).median(0).values
    assert (lengths[30:] - given).abs().max() < 5e-3
