"""How a generator is driven: token after token, or all tokens of a motion at once.

The engine has one loop for each. What a state is, how a token follows from it and what ends an answer is up to the
family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from mld.models.noise import RowNoise

StepHook = Callable[[int, int, Tensor], None]  # told after a step: how many are done, of how many, the state


class Decoding(Protocol):
    """Answers in the making, one row each. longest: tokens after which an answer that has not ended is cut off."""

    longest: int

    def step(self, tokens: Tensor | None) -> Tensor:
        """Append one token to every row, (B,) int64 or (B, C) float (None before the first), and give the states of the
        next ones: logits (B, V), conditions (B, Z), ..."""
        ...

    def draw(self, state: Tensor, noise: RowNoise) -> tuple[Tensor, Tensor]:
        """Tokens (B,) or (B, C) out of states, and which rows end with them, (B,) bool; such a token is not part of the
        answer."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, after at least one step."""
        ...


class Denoising(Protocol):
    """Motions whose tokens are all made at once, one row each."""

    def lengths(self, noise: RowNoise) -> list[int]:
        """Frames of each whole motion, for requests that leave it open."""
        ...

    def sample(self, mask: Tensor, noise: RowNoise, on_step: StepHook | None = None) -> Tensor:
        """Tokens (B, L, C) for mask (B, L), True for those that a row needs; each row depends on its own prompt, mask
        and noise alone."""
        ...
