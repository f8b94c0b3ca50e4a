"""What a writer is: it says how the clips of a request are encoded and whether the answer fits, and makes answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mld.engine.plan import Plan
from mld.engine.request import Answer
from mld.errors import RequestError
from mld.example import Clip
from mld.models.contracts.generator import MotionGenerator
from mld.motion.representations.base import Representation


@dataclass(frozen=True)
class Job:
    """A planned request, ready to be answered. prompt: the model's. tokens: of the prompt's clips."""

    plan: Plan
    prompt: Any
    tokens: tuple[Tensor, ...]


class Writer(ABC):
    """model: with weights, in eval mode when it writes."""

    def __init__(self, model: MotionGenerator, representation: Representation) -> None:
        self.model, self.representation = model, representation

    def plan(self, plan: Plan) -> Plan:
        """The plan with what this writer needs to know of it; `RequestError` for a length that cannot be made."""
        return plan

    def job(self, plan: Plan, tokens: Sequence[Tensor]) -> Job:
        """The request with its prompt. tokens: of the clips in the plan's prompt. `RequestError` for a prompt that is
        too long."""
        encoded = iter(tokens)
        parts = [replace(part, tokens=next(encoded)) if isinstance(part, Clip) else part for part in plan.prompt]
        output = plan.request.output
        prompt, longest = self.model.prompt(parts, output, plan.num_frames), self.model.longest_prompt(output)
        if len(prompt) > longest:
            raise RequestError(f"the prompt has {len(prompt)} tokens, this model reads at most {longest}")
        return Job(plan, prompt, tuple(tokens))

    def size(self, plan: Plan) -> int:
        """Jobs of similar size are served together."""
        return 0

    @abstractmethod
    def write(self, jobs: Sequence[Job], done: Callable[[int], None]) -> list[Answer]:
        """The answers; each depends on its own job alone. done is told, after every step, how many more are
        finished."""
