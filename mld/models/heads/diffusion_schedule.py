"""Noise schedules and the choice of the timesteps that sampling keeps (MotionGPT3 spec 4.2, MotionStreamer spec 5.2).

`scaled_linear` keeps the name that published configs use, but it is *linear* from 0.00085 to 0.012: elsewhere that name
means linear in the square root. Everything is float64; what indexes the tables decides about precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mld.errors import ConfigError

COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999


def _linear(steps: int, first: float, last: float) -> Tensor:
    """Equal increments; the range is that of 1000 steps and stretched for another number (Nichol & Dhariwal 2021)."""
    stretch = 1000 / steps
    return torch.linspace(first * stretch, last * stretch, steps, dtype=torch.float64).clamp(max=LARGEST_BETA)


def _cosine(steps: int) -> Tensor:
    """Signal left after i of n steps is cos^2 of (i/n + 0.008) / 1.008 of a right angle (Nichol & Dhariwal 2021)."""
    done = torch.arange(steps + 1, dtype=torch.float64) / steps
    signal = torch.cos((done + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
    return (1 - signal[1:] / signal[:-1]).clamp(max=LARGEST_BETA)


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "scaled_linear": partial(_linear, first=0.00085, last=0.012),
    "linear": partial(_linear, first=0.0001, last=0.02),
    "cosine": _cosine,
}


def betas(schedule: str, steps: int) -> Tensor:
    """Noise added at each of `steps` timesteps (steps,) float64; `ConfigError` names the known schedules."""
    if schedule not in SCHEDULES:
        raise ConfigError(f"noise_schedule '{schedule}' is not one of {', '.join(SCHEDULES)}")
    if steps < 1:
        raise ConfigError(f"diffusion_steps must be at least 1, not {steps}")
    return SCHEDULES[schedule](steps)


def kept_timesteps(request: str, steps: int) -> list[int]:
    """Ascending timesteps of a chain of `steps` that sampling visits.

    "100": so many, evenly spread from first to last. "10,20": the chain is cut into equal parts, each with its own
    number. "ddim50": a whole-numbered stride that starts at 0 and gives exactly 50. "": all of them.
    """
    if not request:
        return list(range(steps))
    if request.startswith("ddim"):
        return _strided(_count(request, request.removeprefix("ddim"), steps), request, steps)
    counts = request.split(",")
    size, larger = divmod(steps, len(counts))
    kept, start = [], 0
    for part, text in enumerate(counts):
        length = size + (part < larger)
        kept += [start + i for i in _spread(_count(request, text, length), length)]
        start += length
    return kept


def _spread(count: int, length: int) -> list[int]:
    """`count` of range(length), ends included. The position is summed up step by step, as in published samplers: with
    an odd count the middle may lie half way, and the rounding error of the sum then decides."""
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    position, found = 0.0, []
    for _ in range(count):
        found.append(round(position))
        position += stride
    return found


def _strided(count: int, request: str, steps: int) -> list[int]:
    for stride in range(1, steps + 1):
        if len(range(0, steps, stride)) == count:
            return list(range(0, steps, stride))
    raise ConfigError(f"num_inference_steps '{request}': no whole stride over {steps} steps gives {count}")


def _count(request: str, text: str, limit: int) -> int:
    count = int(text) if text.strip().isdecimal() else 0
    if not 1 <= count <= limit:
        raise ConfigError(
            f"num_inference_steps '{request}': '{text}' is not a number from 1 to {limit} "
            '(write e.g. "100", "ddim50" or "10,20")'
        )
    return count
