"""The shipped configs of MotionMillion: sizes, schedules and data."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.models.families.motionmillion.config import SIZES
from mld.training.dry_run import untrained
from mld.training.networks import count_parameters
from mld.training.optimization import rate_factor
from mld.training.run_config import load_runs
from tests.models.tiny_million import CODES, tiny_codes

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ["44M", "111M", "343M", "775M", "1B", "3B", "7B"]


@pytest.mark.parametrize("name", NAMES)
def test_a_size_is_a_name_over_one_base(name: str) -> None:
    (run,) = load_runs(CONFIGS / "motionmillion" / f"t2m_{name}.yaml", ["data.root=anywhere"])
    assert run.model.config.size == name and run.data.unit_length == 2 and run.text_encoder.width == 2048
    rates = [4e-4 * rate_factor(run.training.scheduler, step, 240_000) for step in (0, 6000, 12_000, 240_000)]
    assert rates == pytest.approx([0.0, 2e-4, 4e-4, 0.0])
    assert run.training.optimizer.params["eps"] == 1e-6 and run.training.optimizer.params["lr"] == 4e-4


def test_the_published_rate_rises_again() -> None:
    changes = ["data.root=x", "training.scheduler.fall_steps=216000", "training.scheduler.rises_again=true"]
    (run,) = load_runs(CONFIGS / "motionmillion" / "t2m_3B.yaml", changes)
    rates = [4e-4 * rate_factor(run.training.scheduler, step, 240_001) for step in (60_000, 228_000, 240_000)]
    assert rates == pytest.approx([3.532e-4, 0.0, 3.038e-6], rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("name", ["44M", "1B"])
def test_a_dry_run_knows_sizes_without_encoder_and_weights(name: str) -> None:
    (run,) = load_runs(CONFIGS / "motionmillion" / f"t2m_{name}.yaml", ["data.root=anywhere"])
    network = untrained(run, {Path(run.init_from): tiny_codes()})
    layers, _, width = SIZES[name]
    hidden = -(-int(8 * width / 3) // 256) * 256
    tables = (2 * CODES + 3) * width + 2049 * width
    blocks = layers * (4 * width * width + 3 * width * hidden + 2 * width) + width
    total, frozen = count_parameters(network)
    assert total - frozen == tables + blocks
    assert all(parameter.is_meta for parameter in network.transformer.parameters())


def test_the_quickstart_fits_its_tokens() -> None:
    (run,) = load_runs(CONFIGS / "quickstart" / "motionmillion_t2m.yaml")
    config = run.model.config
    assert run.data.pairs > 0 and run.data.instructions == "stream"
    assert config.motion_generation.max_length * run.data.unit_length >= run.data.max_frames
    assert config.llama().width == 128
