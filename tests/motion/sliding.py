"""Walks of the procedural figure whose feet are made to slide, and an independent measure of it."""

from __future__ import annotations

import numpy as np
import torch

from mld.data.sources.procedural.actions import ACTIONS
from mld.data.sources.procedural.script import Script, perform
from mld.data.sources.procedural.stage import FPS, Style
from mld.motion.motion import Motion


def figure(name: str, seed: int) -> tuple[Motion, torch.Tensor]:
    """One action of the figure, and when each toe is planted (T, 2) by construction."""
    rng = np.random.default_rng(seed)
    action = ACTIONS[name].factory(rng)
    frames = round((action.duration + 0.6) * FPS) + 1
    played = perform(Script((action,), (0.3,), frames, (), "", Style.draw(rng), (0.25, 0.0)))
    return Motion(played.joints, FPS), torch.from_numpy(played.toes_down)


def injected(motion: Motion, kind: str) -> Motion:
    """The motion with sliding: the way made a fifth longer, a body that drifts or sways, or noise."""
    joints = motion.joints.double()
    time = torch.arange(len(joints), dtype=torch.float64)[:, None] / motion.fps
    level = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    noise = 0.004 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    added = {
        "travel": 0.2 * level * (joints[:, :1] - joints[:1, :1]),
        "drift": time[:, None] * torch.tensor([0.25, 0.0, 0.1], dtype=torch.float64),
        "sway": 0.06 * level * torch.sin(time * torch.tensor([4.0, 0.0, 3.1], dtype=torch.float64))[:, None],
        "noise": noise,
    }
    return Motion(joints + added[kind], motion.fps)


def toe_speed(motion: Motion, planted: torch.Tensor) -> float:
    """Mean speed (m/s) in the plane of the toes while they are planted."""
    steps = motion.joints[:, [10, 11]][..., [0, 2]].diff(dim=0).norm(dim=-1) * motion.fps
    return float(steps[planted[1:] & planted[:-1]].mean())
