"""Mode "upstream" of families whose published tests run in a way of their own: MotionMillion's and its tokenizer's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tasks
from commands.common import run
from commands.test import main
from mld.checkpoint import save_model
from mld.data.config import DataConfig
from mld.engine.pipeline import Pipeline
from mld.evaluation.draws import Replication
from mld.evaluation.protocol import Protocol
from mld.evaluation.published import as_tested, counts, published_test_of
from mld.evaluation.rows import distribution
from mld.evaluation.run import evaluate
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from mld.metrics.embeddings import fid, shuffled
from mld.metrics.joints import ClipErrors
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.motion.normalizer import Normalizer
from tests.data.million import clip, config
from tests.metrics.splits import split
from tests.models.evaluating import TEXTS, tiny_tmr272, write_text_encoder
from tests.models.tiny_million import tiny_million

LENGTHS = [60 + 4 * (number % 12) for number in range(34)] + [201, 290, 59]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """34 clips of 60 to 104 frames, one each of 201, 290 and 59."""
    root = tmp_path_factory.mktemp("million")
    folder = root / "split/version1/t2m_60_300"
    names = [f"G/f/{number:02d}" for number in range(len(LENGTHS))]
    whole = [clip(max(LENGTHS) + 7, seed) for seed in range(3)]
    for number, (name, frames) in enumerate(zip(names, LENGTHS)):
        for path in (root / "motion_data/vector_272" / f"{name}.npy", root / "texts" / f"{name}.txt", folder / "x"):
            path.parent.mkdir(parents=True, exist_ok=True)
        np.save(root / "motion_data/vector_272" / f"{name}.npy", whole[number % 3][number % 7 :][:frames])
        (root / "texts" / f"{name}.txt").write_text(f"{TEXTS[number % 6]}\n{TEXTS[(number + 1) % 6]}\n")
    (folder / "test.txt").write_text("\n".join(names) + "\n")
    return config(root, unit_length=2)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluator")
    return save_model(tiny_tmr272(write_text_encoder(folder / "bert")), folder / "tmr", {})


def test_the_paper_s_protocol_beside_ours(data: DataConfig, evaluator: Path, tmp_path: Path) -> None:
    found = {}
    for mode in ("upstream", "strict"):
        model = tiny_million(positions=200, motion_generation={"max_length": 150, "do_sample": True})
        folder = save_model(tiny_million(), tmp_path / "model", {})
        subject = Subject(Pipeline(model, bones="clip"), folder, (tasks.find("t2m"),))
        settings = Settings(mode=mode, evaluators=(evaluator,), out=tmp_path / mode, cache=tmp_path / "c", limit=None)
        settings = counts(settings, subject, None, 0)
        assert settings.replications == (1 if mode == "upstream" else 20)
        if mode == "strict":
            settings = Settings(**{**vars(settings), "replications": 1})
        found[mode] = evaluate(data, settings, subject, subject.tasks if mode == "upstream" else ()), model
    (upstream, model), (strict, ours) = found["upstream"], found["strict"]
    assert upstream["data"]["clips"] == 34 and strict["data"]["clips"] == 36
    assert model.config.compat and not model.config.motion_generation.do_sample and not ours.config.compat
    own = "captions=random/crop=coin4/frames=60-200/length=model/features=files/groups=whole/diversity=0"
    assert f"/upstream/{own}" in upstream["protocol"]["id"]
    assert "/strict/captions=random/crop=coin2/frames=60-300/length=given" in strict["protocol"]["id"]
    diversity = upstream["tasks"]["t2m"]["tmr272/Diversity"]
    assert diversity["value"] == 0 and "0 by construction" in diversity["note"]
    assert strict["rows"]["real"]["tmr272/Diversity"]["value"] is None, "36 clips are too few for 300 pairs"
    assert upstream["tasks"]["t2m"]["tmr272/FID"]["n"] == 32 and strict["rows"]["real"]["tmr272/FID"]["n"] == 36
    assert upstream["tasks"]["t2m"]["tmr272/R_precision_top_1"]["n"] == 32


def test_distances_are_over_the_groups_of_r_precision() -> None:
    clips = split(40)
    replication = Replication(clips, Protocol("upstream", whole_groups=True, no_diversity=True), 3)
    generated, reference = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(0)).unbind()
    kept = shuffled(40, 3)[:32]
    found = distribution(replication, generated, reference, 0)
    assert found["FID"].value == pytest.approx(float(fid(generated[kept], reference[kept]))) and found["FID"].n == 32
    assert found["Diversity"].value == 0
    few = Replication(split(20), replication.protocol, 3)
    assert distribution(few, generated[:20], reference[:20], 0)["FID"].value is None


def test_what_a_user_says_of_replications_holds() -> None:
    subject = Subject(Pipeline(tiny_million()), "", ())
    upstream = Settings(mode="upstream")
    assert counts(upstream, subject, None, None).replications == 1
    assert counts(upstream, subject, None, None).multimodality == 0
    assert counts(Settings(mode="upstream", replications=5), subject, 5, None).replications == 5
    assert counts(Settings(), subject, None, None) == Settings()


def test_a_tokenizer_alone_is_tested_in_its_own_unit(data: DataConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = FSQAEConfig(levels=[8, 5], code_dim=8, width=16, depth=1)
    network = FSQAE(sizes, Normalizer(torch.zeros(272), torch.ones(272), "data")).eval()
    folder = save_model(network, tmp_path / "fsq", {})
    test = published_test_of(Subject(network, folder, ()))
    changed, settings = as_tested(data, Settings(mode="upstream", length="given"), test)
    assert (changed.min_frames, changed.max_frames, changed.unit_length, settings.length) == (96, 300, 2, "given")
    options = [f"data.{key}={getattr(data, key)}" for key in ("source", "root", "representation", "splits",
                                                               "min_frames", "max_frames", "unit_length")]  # fmt: skip
    command = ["--model", str(folder), "--task", "recon", "--mode", "upstream", "--evaluator", "none", *options]
    assert run(main, [*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["data"]["clips"] == sum(96 <= frames <= 300 for frames in LENGTHS)
    entries = results["tasks"]["recon"]
    assert len(entries["MPJPE_clips"]["values"]) == 1 and entries["ACC_max"]["unit"] == "mm/frame^2"
    assert entries["ACC_max_real"]["value"] > entries["ACC_mean_real"]["value"] > 0
    assert "| ACC_mean" in (tmp_path / "out/results.md").read_text()


def test_clip_errors_count_clips_alike() -> None:
    draw = torch.Generator().manual_seed(0)
    made, real = torch.rand(2, 2, 9, 22, 3, generator=draw).unbind()
    mask = torch.arange(9) < torch.tensor([[9], [2]])
    errors = ClipErrors()
    errors.update(made, real, mask)
    found = {name: score.value for name, score in errors.scores().items()}

    def aligned(joints):
        return joints - joints[..., :1, :]

    frames = (aligned(made) - aligned(real)).norm(dim=-1).mean(-1)
    assert found["MPJPE_clips"] == pytest.approx(500 * float(frames[0].mean() + frames[1, :2].mean()), rel=1e-5)
    second = aligned(made)[0].diff(n=2, dim=0).norm(dim=-1)
    assert found["ACC_mean"] == pytest.approx(1000 * float(second.mean()), rel=1e-5)
    assert found["ACC_max"] == pytest.approx(1000 * float(second.amax(-1).mean()), rel=1e-5)
