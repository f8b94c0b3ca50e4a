"""A motion tokenizer turns motion into tokens and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from mld.example import FeatureBatch
from mld.models.contracts.network import Network


class MotionTokenizer(Network):
    """Motion <-> tokens. Subclasses set `representation` (its name), `frames_per_token` and `codebook_size`.

    codebook_size 0: tokens are continuous, (B, L, C) float latents of `latent_channels` C. frames_per_token 0: a clip
    of any length is `tokens_per_clip` tokens; then `decode` is told the wanted frames. longest: frames of the longest
    clip that it takes, 0 for any length."""

    kind: ClassVar[str] = "tokenizer"
    representation: str
    frames_per_token: int
    codebook_size: int
    tokens_per_clip: int = 0
    latent_channels: int = 0
    longest: int = 0

    def measure(self, clips: Iterable[Tensor]) -> None:  # noqa: B027  (most have nothing to measure)
        """Called once on a new tokenizer with the training clips, raw features (T, D)."""

    @abstractmethod
    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D) and mask (B, T) -> tokens (B, L) int64 or (B, L, C) float, and their mask (B, L).

        A row's tokens do not depend on its padding or on other rows."""

    @abstractmethod
    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Tokens (B, L) or (B, L, C) and mask (B, L) -> raw features (B, T, D); masked frames are undefined.

        T is L * frames_per_token, or that of `frames` (B, T) bool, the wanted frames, where frames_per_token is 0."""

    @abstractmethod
    def loss(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Named, unweighted loss terms and, under names that start with `monitor/`, values to be logged only."""
