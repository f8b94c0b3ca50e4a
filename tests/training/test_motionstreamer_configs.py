"""The shipped configs of MotionStreamer: sizes, schedules and data as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.training.optimization import rate_factor
from mld.training.run_config import load_runs

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_published_stages_chain() -> None:
    tokenizer, t2m = load_runs(CONFIGS / "motionstreamer" / "all.yaml", ["data.root=anywhere"])
    assert t2m.init_from == str(tokenizer.folder / "model")
    assert (tokenizer.data.batch_size, tokenizer.data.window, t2m.data.batch_size) == (16, 64, 32)
    assert (t2m.model.config.architecture.layers, t2m.model.config.head.width) == (12, 1792)
    assert rate_factor(t2m.training.scheduler, 0, 100000) == 0.0
    assert rate_factor(tokenizer.training.scheduler, 1000, 2000999) == pytest.approx(1000 / 1001)
    assert rate_factor(tokenizer.training.scheduler, 1900999, 2000999) == pytest.approx(0.05 * 1000 / 1001)


def test_the_streaming_model_is_trained_on_clips_and_pairs() -> None:
    (run,) = load_runs(CONFIGS / "motionstreamer" / "stream.yaml")
    assert [entry.source for entry in run.data.sources] == ["humanml3d", "babel_stream"]
    assert run.data.instructions == "stream" and run.data.token_drop_probability == 0
    settings = ["data.sources=[]", "data.source=humanml3d", "data.root=humanml3d_272", "data.pairs=0.5"]
    (alone,) = load_runs(CONFIGS / "motionstreamer" / "stream.yaml", settings)
    assert alone.data.pairs == 0.5 and not alone.data.sources


@pytest.mark.parametrize("name", ["cmu/motionstreamer_t2m", "quickstart/motionstreamer_t2m"])
def test_the_small_models_learn_from_pairs(name: str) -> None:
    (run,) = load_runs(CONFIGS / f"{name}.yaml", ["init_from=anywhere"])
    assert run.data.pairs > 0 and run.data.instructions == "stream"


def test_the_evaluator_reads_272_columns() -> None:
    (run,) = load_runs(CONFIGS / "motionstreamer" / "evaluator.yaml", ["data.root=anywhere"])
    assert run.evaluator.family == "tmr272" and run.data.splits == "split"
