"""Parts that do not fit each other are refused before a training begins, in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from commands.common import run
from commands.train import main
from mld.checkpoint import load_model
from mld.motion.normalizer import Normalizer
from mld.training.networks import check_statistics
from mld.training.run_config import NormalizerConfig

RUN = """
name: run
stage: {stage}
output: {folder}
data: {{source: procedural, procedural_size: 8, batch_size: 2, unit_length: 1}}
training: {{max_steps: 1}}
{sections}
"""
GENERATOR, FRAMES = "model: {family: motiongpt}\n", "tokenizer: {family: frames}\n"


@pytest.mark.parametrize(
    ("stage", "sections", "message"),
    [
        ("pretrain", GENERATOR + FRAMES, "motiongpt needs codes, as of tokenizer 'vqvae', not 'frames'"),
        ("pretrain", "model: {family: motiongpt3}\n" + FRAMES, "motiongpt3 needs latents of whole clips"),
        ("pretrain", FRAMES, "a new generator over the tokenizer 'frames' needs a section 'model: {family: ...}'"),
        ("tokenizer", FRAMES, "tokenizer.family 'frames' has nothing to train"),
        ("tokenizer", FRAMES + "seed: -1", "seed is -1, expected a whole number from 0 to 2^32 - 1"),
        ("tokenizer", FRAMES + "seed: 4294967296", "seed is 4294967296"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, capsys, stage: str, sections: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(stage=stage, folder=tmp_path, sections=sections), encoding="utf-8")
    assert run(main, ["--cfg", str(file)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1] and sum(line.startswith("error: ") for line in errors) == 1
    assert not any("Traceback" in line for line in errors)


def test_a_text_encoder_that_nobody_reads_is_not_passed_over(tmp_path: Path, capsys) -> None:
    sections = "init_from: mld/assets/motiongpt\ntext_encoder: {source: nowhere}"
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(stage="instruct", folder=tmp_path, sections=sections), encoding="utf-8")
    assert run(main, ["--cfg", str(file), "data.unit_length=4"]) == 2
    told = "text_encoder: this 'motiongpt' reads no text features as it was made without an encoder"
    assert told in capsys.readouterr().err


def test_statistics_of_another_model_are_refused_by_one_that_has_its_own(tmp_path: Path, capsys) -> None:
    own = load_model("mld/assets/motiongpt").tokenizer
    known = Normalizer(own.feature_mean, own.feature_std, "fitted")
    for name, statistics in (("same", known), ("other", Normalizer(known.mean + 0.1 * known.std, known.std))):
        statistics.save(tmp_path / name)
    settings = NormalizerConfig(folder=str(tmp_path / "same"))
    check_statistics(SimpleNamespace(init_from="mld/assets/motiongpt", normalizer=settings), own)
    sections = f"init_from: mld/assets/motiongpt\nnormalizer: {{folder: {tmp_path / 'other'}}}"
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(stage="instruct", folder=tmp_path, sections=sections), encoding="utf-8")
    assert run(main, ["--cfg", str(file), "data.unit_length=4"]) == 2
    errors = capsys.readouterr().err
    assert "holds other statistics than mld/assets/motiongpt was trained with (mean off by 0.1 std" in errors
