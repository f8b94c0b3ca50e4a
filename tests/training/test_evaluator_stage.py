"""Stage `evaluator` by the train command: both families from data to a folder that embeds, interrupted and resumed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from commands.common import run
from commands.train import main
from mld.checkpoint import load_model
from mld.data.config import DataConfig
from mld.data.datamodule import MotionDataModule
from mld.example import Caption, CaptionedClip
from mld.training import stages
from mld.training.evaluator_module import retrieval
from tests.models.evaluating import write_text_encoder
from tests.training.conftest import WAYS, write_tmr


def train_with(*arguments) -> int:
    return run(main, [str(argument) for argument in arguments])


@pytest.fixture
def files(configs, tmp_path) -> Path:
    """Configs of both families beside those of the other stages."""
    write_tmr(configs, write_text_encoder(tmp_path / "words"), tmp_path / "cache")
    return configs


def metrics(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def test_tmr_is_trained_resumed_exactly_and_found_again(files, tmp_path, capsys):
    assert train_with("--cfg", files / "tmr.yaml") == 0
    out = capsys.readouterr().out
    assert "stage evaluator" in out and "M parameters" in out and "prepare retrieve" in out
    done = files / "runs" / "tmr"
    last = metrics(done)[-1]
    assert 0 <= float(last["val/t2m_R01"]) <= float(last["val/t2m_R05"]) <= 100
    assert float(last["val/group_size"]) == 2, "the group is as large as the validation set is small"
    assert list((tmp_path / "cache").rglob("*.safetensors")), "text features are kept"
    assert "  ->  c" in (done / "samples" / "step_00000006.txt").read_text()

    network = load_model(done / "model")
    captions = [Caption("a person walks to the left")]
    assert torch.isfinite(network.embed_text(captions)).all() and network.metric == "cosine"
    assert network.config.normalizer == "tmr"

    constant = "training.scheduler.name=constant"
    assert train_with("--cfg", files / "tmr.yaml", "name=cut", "training.max_steps=4", constant) == 0
    assert train_with("--resume", files / "runs" / "cut", "training.max_steps=6") == 0
    assert train_with("--cfg", files / "tmr.yaml", "name=whole", constant) == 0
    whole, cut = (weights(files / "runs" / name / "model") for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[key]) for key, value in whole.items())


def test_guo_goes_through_both_stages(files, capsys):
    assert train_with("--cfg", files / "both.yaml", "training.max_steps=2") == 0
    runs = files / "runs"
    first, second = load_model(runs / "movement" / "model"), load_model(runs / "guo" / "model")
    assert not first.can_embed and second.can_embed
    assert second.embedding_dim == 14, "sizes of the second stage are those of its config"
    for key, value in first.movement_encoder.state_dict().items():
        assert torch.equal(value, second.movement_encoder.state_dict()[key]), "the movement encoder stays as it was"
    assert "val/t2m_R01" not in metrics(runs / "movement")[-1]
    assert float(metrics(runs / "guo")[-1]["val/m2t_R03"]) >= 0
    assert train_with("--cfg", files / "both.yaml", "training.max_steps=2") == 0
    assert capsys.readouterr().out.count("finished before") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluator.family=tmrr"], "no evaluator family 'tmrr'; did you mean 'tmr'"),
        (["evaluator.latent_dims=8"], "unknown key 'evaluator.latent_dims'; did you mean 'latent_dim'?"),
        (["evaluator.representation=kit"], "data.representation is 'humanml3d', but this evaluator reads 'kit'"),
        (["init_from=./nothing"], "no such model folder"),
        (["data.root=/nowhere"], "no dataset folder '/nowhere'"),
    ],
)
def test_mistakes_are_one_line(files, capsys, arguments, message):
    assert train_with("--cfg", files / "tmr.yaml", *arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


@pytest.mark.parametrize("stage", ["evaluator", "tokenizer"])
def test_what_a_new_network_reads_is_checked_before_any_clip_is_opened(files, capsys, monkeypatch, stage):
    monkeypatch.setattr(stages, "TrainingData", lambda *about, **more: pytest.fail("clips were opened"))
    wrong = ["data.representation=kit", f"stage={stage}"] + ["tokenizer.family=vae"] * (stage == "tokenizer")
    said = f"data.representation is 'kit', but this {stage} reads 'humanml3d'"
    assert train_with("--cfg", files / "tmr.yaml", *wrong) == 2 and said in capsys.readouterr().err
    assert train_with("--cfg", files / "tmr.yaml", *wrong, "--dry-run") == 0 and said in capsys.readouterr().out


def test_dry_run_knows_the_size(files, capsys):
    assert train_with("--cfg", files / "tmr.yaml", "--dry-run") == 0
    assert train_with("--cfg", files / "both.yaml", "--dry-run") == 0
    assert capsys.readouterr().out.count("M parameters") == 3
    assert not (files / "runs").exists()


def test_pairs_are_drawn_alike_in_every_process(dataset):
    """A batch follows from (seed, epoch) alone; captions and labels belong to their motions."""
    cfg = DataConfig("joints", str(dataset), window=None, batch_size=4)
    loaders = [MotionDataModule(cfg, "pairs", seed=3).train_dataloader() for _ in range(2)]
    for one, other in zip(*loaders):
        assert torch.equal(one.features, other.features) and one.captions == other.captions
        assert one.features.shape[1] % 4 == 0 and not one.features[~one.mask].any()
        for caption, label in zip(one.captions, one.labels):
            assert caption.text == f"a person walks {label}" and label in WAYS
    lengths = {tuple(sorted(batch.mask.sum(1).tolist())) for batch in loaders[0]}
    assert any(max(row) - min(row) > 16 for row in lengths), "batches are not sorted by length"


def test_retrieval_counts_clips_of_one_label_as_right():
    clips = [CaptionedClip(f"c{i}", torch.zeros(8, 3), (f"sentence {i}",), 20.0, label="ab"[i % 2]) for i in range(4)]
    text = torch.eye(4)
    swapped = text[[2, 3, 0, 1]]  # each finds the other clip of its label
    assert retrieval(text, swapped, clips, "cosine")["t2m_R01"] == 100
    unlabelled = [CaptionedClip(c.name, c.features, c.captions, c.fps) for c in clips]
    assert retrieval(text, swapped, unlabelled, "cosine")["t2m_R01"] == 0
