"""A crude walking figure for tests that need plausible joints without data or a model."""

from __future__ import annotations

import math

import torch

from mld.motion.stitch import turn


def walker(frames: int, yaw=0.0, turning=0.0, start=(0.0, 0.0), phase=0.0, scale=1.0) -> torch.Tensor:
    """A crude walk (T, 22, 3): rigid torso, swinging limbs of constant bone lengths, on a straight or curved path."""
    rest = torch.tensor([
        [0, .95, 0], [.08, .87, 0], [-.08, .87, 0], [0, 1.05, 0], [.09, .5, 0], [-.09, .5, 0], [0, 1.2, 0],
        [.09, .08, 0], [-.09, .08, 0], [0, 1.26, 0], [.1, .02, .12], [-.1, .02, .12], [0, 1.45, 0], [.07, 1.38, 0],
        [-.07, 1.38, 0], [0, 1.55, .05], [.17, 1.4, 0], [-.17, 1.4, 0], [.2, 1.13, 0],
        [-.2, 1.13, 0], [.2, .88, 0], [-.2, .88, 0],
    ]) * scale
    time = torch.arange(frames)
    swing = 0.5 * torch.sin(2 * math.pi * time / 20 + phase)
    joints = rest.repeat(frames, 1, 1)
    limbs = {1: (4, 7, 10), 2: (5, 8, 11), 16: (18, 20), 17: (19, 21)}
    for root, members in limbs.items():
        sign = 1.0 if root in (1, 17) else -1.0
        angle = sign * swing
        for joint in members:
            relative = rest[joint] - rest[root]
            y = relative[1] * torch.cos(angle) - relative[2] * torch.sin(angle)
            z = relative[1] * torch.sin(angle) + relative[2] * torch.cos(angle)
            joints[:, joint] = rest[root] + torch.stack((relative[0].expand(frames), y, z), dim=-1)
    yaws = yaw + turning * time
    steps = 0.06 * torch.stack((torch.sin(yaws), torch.zeros(frames), torch.cos(yaws)), dim=-1)
    root = steps.cumsum(0) - steps[0] + torch.tensor([start[0], 0.0, start[1]])
    return turn(joints, yaws[:, None]) + root[:, None]
