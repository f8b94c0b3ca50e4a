"""Raw frames as tokens: a token is one frame, normalised. For families that write motion without a learnt tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.tokens import TokenLayout
from mld.models.tokenizers.normalized import NormalizedTokenizer
from mld.motion.normalizer import Normalizer


@dataclass
class FramesConfig:
    """longest: frames of the longest clip that is read and made, 0 for any. normalizer: kind of the statistics in the
    buffers. steady, fixed_bones: what decoded features go through (`NormalizedTokenizer`)."""

    representation: str = "humanml3d"
    longest: int = 0
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"


class Frames(NormalizedTokenizer, family="frames"):
    """config: `FramesConfig`. normalizer: statistics of the training data; None keeps features as they are. Nothing is
    learnt: reconstruction is exact."""

    Config = FramesConfig
    loss_weights: ClassVar[dict[str, float]] = {}

    def __init__(self, config: FramesConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        self.layout = TokenLayout(channels=self.width, frames_per_token=1, longest=config.longest)

    @classmethod
    def restore(cls, config: FramesConfig, parts: Parts, folder: Path | None = None) -> Frames:
        return cls(config)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> normalised frames (B, T, D), zero where masked, and the mask."""
        return self.normalize(features).masked_fill(~mask[..., None], 0.0), mask

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Normalised frames (B, T, D) -> raw features (B, T, D)."""
        return self.finish(self.denormalize(tokens), mask)

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Mean squared error of the way there and back, which is rounding: there is nothing to train."""
        tokens, mask = self.encode(batch.features, batch.mask)
        error = (self.decode(tokens, mask) - batch.features)[mask]
        return {"monitor/recons_feature": error.square().mean()}
