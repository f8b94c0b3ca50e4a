"""A request that is ready to be answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mld.engine.request import Request
from mld.engine.timeline import Timeline

Done = Callable[[int], None]  # told, after every step, how many more answers are finished


@dataclass(frozen=True)
class Job:
    """prompt: the model's. tokens: of the clips in the time line's prompt."""

    request: Request
    timeline: Timeline
    prompt: Any
    tokens: tuple[Tensor, ...]
