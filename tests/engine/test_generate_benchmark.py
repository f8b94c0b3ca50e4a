"""The benchmarks of answers and of MotionMillion: slow ways give what fast ones give."""

from __future__ import annotations

import pytest
import torch

from benchmarks import train_step, vimogen
from benchmarks.generate import codes, frames_at_once, measure
from benchmarks.memory import counts, table, text_encoder_bytes
from benchmarks.train_million import Batch, dense, ours
from benchmarks.train_step import measure as measure_step
from mld.models.backbones.dit import DiTConfig
from mld.models.memory import GIB
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3
from tests.models.tiny_million import tiny_million


@pytest.mark.parametrize("make", [tiny_motiongpt, tiny_motiongpt3])
def test_naive_and_fast_answers_agree(make) -> None:
    found = measure(make(), count=2, frames=24, rounds=1)
    assert min(found["motions_per_s"].values()) > 0
    assert all(entry["same_answers"] in ("1 of 1", "2 of 2") for entry in found["decoding"].values())
    if "head" in found:
        assert max(found["head"][f"batch_{size}"]["largest_difference"] for size in (1, 16)) < 1e-4


def test_motionmillions_published_loop_gives_the_codes_of_the_cached_one() -> None:
    found = codes(lambda: tiny_million(motion_generation={"do_sample": False}), [(1, 12), (3, 5)], 1, ["int8"])
    assert [found[f"batch_{size}"]["same_answers"] for size in (1, 3)] == ["1 of 1", "3 of 3"]
    assert 0 <= found["int8"]["logit_error"] < 0.05 and found["int8"]["batch_3"]["codes"] == 5


def test_vimogens_published_loop_gives_the_frames_of_the_fast_way(monkeypatch) -> None:
    tiny = DiTConfig(2, 1, 2, 32, 64, text_width=16, time_waves=16)
    monkeypatch.setitem(vimogen.SIZES, "middle", tiny)
    found = frames_at_once("middle", 24, 3, 1)
    compared = [entry for entry in found.values() if isinstance(entry, dict)]
    assert len(compared) == 5 and all(entry["largest_difference"] < 1e-5 for entry in compared)
    assert all(entry["faithful_s"] >= 0 and entry["speedup"] > 0 for entry in compared)


def test_memory_is_counted_without_taking_any() -> None:
    rows = {row["weights"]: row for row in counts("7B")}
    assert rows["float32"]["bytes"] == 4 * (rows["float32"]["parameters"] - 11_349_782)
    assert rows["int8"]["total_16"] < 16 * GIB and rows["bfloat16"]["total_1"] < 16 * GIB < rows["float32"]["total_1"]
    assert "7B | int8" in table(list(rows.values()), 16.0)
    assert 4 * 1.2e9 < text_encoder_bytes(torch.float32) < 4 * 1.25e9


def test_a_training_step_has_the_gradients_of_the_published_loss() -> None:
    model = tiny_million().train()
    batch = Batch(3, 30, 20, 0)
    batch.codes = [row[:20] for row in batch.codes]
    batch.ids = [row[:10] for row in batch.ids]
    batch.features = [torch.randn(len(row), 20) for row in batch.ids]
    found = []
    for loss in (dense(model, batch, model.config.positions), ours(model, batch)):
        model.zero_grad()
        loss.backward()
        found.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1])


def test_a_family_that_is_made_to_be_spread_is_measured_with_weights(monkeypatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    small = ["data.procedural_size=40", "data.batch_size=4"]
    found = measure_step("configs/quickstart/motionmillion_all.yaml", small, 1, False, 1)
    assert found["samples_per_second"] > 0 and found["step_ms"] > 0


def test_the_published_loop_goes_with_its_family(capsys) -> None:
    with pytest.raises(SystemExit):
        train_step.main(["--published", "44M"])
    assert "--family motionmillion" in capsys.readouterr().err
