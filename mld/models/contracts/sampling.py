"""How a generator is driven: token after token, or all tokens of a motion at once.

The engine has one loop for each. What a state is, how a token follows from it and what ends an answer is up to the
family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

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


class Streaming(Protocol):
    """Tokens without an end, for rows that begin, are told other words and stop independently of each other.

    What a row gives follows from its own prompts, seed and tokens alone."""

    def grow(self, rows: int) -> None:
        """Room for so many rows."""
        ...

    def begin(self, row: int, prompt: Any) -> None:
        """A row's prompt P, tokens that it goes on from included."""
        ...

    def say(self, row: int, prompt: Any) -> None:
        """Other words from the next token on; the tokens so far stay."""
        ...

    def draw(self, rows: Sequence[int], noise: RowNoise, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The next tokens (B,) or (B, C) of rows, with draw `numbers` of each row's noise, and which of them mean that
        the motion has ended, (B,) bool. Nothing is appended: a token may be drawn again with another number."""
        ...

    def append(self, rows: Sequence[int], tokens: Tensor) -> None:
        """The tokens that rows have taken."""
        ...

    def held(self, row: int) -> dict[str, Tensor]:
        """All that a row needs to go on elsewhere, to the bit."""
        ...

    def restore(self, row: int, held: dict[str, Tensor]) -> None:
        """Put back what `held` gave."""
        ...
