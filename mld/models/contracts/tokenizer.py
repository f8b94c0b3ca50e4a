"""A motion tokenizer turns motion into tokens and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from mld.example import FeatureBatch
from mld.models.contracts.network import Network
from mld.models.contracts.tokens import TokenLayout


class TokenStream(Protocol):
    """Motions that are decoded while their tokens come in, a row each; what is kept of a row does not grow."""

    def grow(self, rows: int) -> None:
        """Room for so many rows."""
        ...

    def begin(self, row: int) -> None:
        """A row forgets what it had."""
        ...

    def push(self, tokens: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """The next tokens (B, l) or (B, l, C) of these rows (all) -> raw features (B, l * frames_per_token, D)."""
        ...

    def held(self, row: int) -> tuple[Tensor, ...]:
        """What a row needs to go on elsewhere, to the bit."""
        ...

    def restore(self, row: int, held: Sequence[Tensor]) -> None:
        """Put back what `held` gave."""
        ...


class MotionTokenizer(Network):
    """Motion <-> tokens. Subclasses set `layout`, what a token is, and `representation`, the name of theirs.

    columns: those of the representation that tokens hold as they are, normalised; none where tokens are learnt."""

    kind: ClassVar[str] = "tokenizer"
    layout: TokenLayout
    representation: str
    columns: Sequence[int] = ()
    optional_losses: Sequence[str] = ()  # names of terms of `loss` that are left out where nobody asks for them

    def measure(self, clips: Iterable[Tensor]) -> None:  # noqa: B027  (most have nothing to measure)
        """Called once on a new tokenizer with the training clips, raw features (T, D)."""

    @abstractmethod
    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D) and mask (B, T) -> tokens (B, L) int64 or (B, L, C) float, and their mask (B, L).

        A row's tokens do not depend on its padding or on other rows."""

    @abstractmethod
    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Tokens (B, L) or (B, L, C) and mask (B, L) -> raw features (B, T, D); masked frames are undefined.

        T is L * frames_per_token, or that of `frames` (B, T) bool, the wanted frames, where tokens do not say."""

    def stored(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What a store of tokens keeps of clips, for training: tokens as of `encode`, or posteriors (B, 2, L, C), means
        and log variances, of which every use draws anew; and their mask (B, L)."""
        return self.encode(features, mask)

    def stream(self, rows: int = 1) -> TokenStream:
        """Room for motions that come in pieces; `TypeError` where tokens are not causal."""
        raise TypeError(f"{type(self).__name__}: what comes later changes what came before; it does not stream")

    @abstractmethod
    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Named, unweighted loss terms and, under names that start with `monitor/`, values to be logged only.

        progress: how far training is, 0 to 1."""
