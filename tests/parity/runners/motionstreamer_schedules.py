"""Parity of the learning rates of MotionStreamer's trainings."""

from __future__ import annotations

import numpy as np

from mld.training.optimization import rate_factor
from mld.training.run_config import SchedulerConfig
from tests.parity.harness import Case, runner


@runner("motionstreamer.lr_schedule.tae")
def tae(case: Case) -> dict:
    data = case.arrays
    warm_up, milestones = int(data["warm_up_iter"]) - 1, [int(one) for one in data["milestones"]]
    config = SchedulerConfig("steps", "kept", warm_up, milestones=milestones, gamma=float(data["gamma"]))
    return _rates(config, warm_up + int(data["total_iter"]), 0, case)


@runner("motionstreamer.lr_schedule.ar")
def ar(case: Case) -> dict:
    config = SchedulerConfig("cosine", "from_zero", int(case.arrays["warmup"]), final_ratio=0.0)
    return _rates(config, int(case.arrays["total_iter"]), 1, case)  # one more step than a run here has


def _rates(config: SchedulerConfig, steps: int, more: int, case: Case) -> dict:
    base = float(case.arrays["base_lr"])
    return {"lr_used": np.array([base * rate_factor(config, step, steps) for step in range(steps + more)])}
