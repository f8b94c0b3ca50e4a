"""Raw frames as tokens: a token is one frame, normalised. For families that write motion without a learnt tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from mld.errors import ConfigError, nearest
from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.tokens import TokenLayout
from mld.models.tokenizers.normalized import NormalizedTokenizer
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation


@dataclass
class FramesConfig:
    """longest: frames of the longest clip that is read and made, 0 for any. normalizer: kind of the statistics in the
    buffers. steady, fixed_bones: what decoded features go through (`NormalizedTokenizer`). roles: of the columns that
    tokens hold, none for all. What the others say follows from the places, and a network that has to make it as well
    has less left for these (Meng et al. 2025, "MARDM", where 67 of 263 columns are made)."""

    representation: str = "humanml3d"
    longest: int = 0
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"
    roles: list[str] = field(default_factory=list)


def left_out(config: FramesConfig) -> tuple[str, ...]:
    """The roles whose columns tokens do not hold. `ConfigError` for roles that are not there, or that tell what no
    other column does, and where `steady` needs the velocities."""
    described = get_representation(config.representation)
    for role in config.roles:
        if role not in described.roles:
            raise ConfigError(f"tokenizer.roles: no columns of role '{role}'; {nearest(role, described.roles)}")
    left = tuple(role for role in described.roles if config.roles and role not in config.roles)
    if needed := [role for role in left if role not in described.follows]:
        raise ConfigError(f"tokenizer.roles: leaves out '{needed[0]}', which no other column tells; add it")
    if config.steady and "velocities" in left:
        raise ConfigError("tokenizer.roles: leaves out 'velocities', which steady needs; add it, or set steady: false")
    return left


class Frames(NormalizedTokenizer, family="frames"):
    """config: `FramesConfig`. normalizer: statistics of the training data; None keeps features as they are. Nothing is
    learnt: reconstruction is exact."""

    Config = FramesConfig
    loss_weights: ClassVar[dict[str, float]] = {}

    def __init__(self, config: FramesConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        self.left_out = left_out(config)
        described = get_representation(config.representation)
        self.columns = described.columns(*(role for role in described.roles if role not in self.left_out))
        self.layout = TokenLayout(channels=len(self.columns), frames_per_token=1, longest=config.longest)

    @classmethod
    def restore(cls, config: FramesConfig, parts: Parts, folder: Path | None = None) -> Frames:
        return cls(config)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> normalised frames (B, T, C), zero where masked, and the mask."""
        return self.held(self.normalize(features)).masked_fill(~mask[..., None], 0.0), mask

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Normalised frames (B, T, C) -> raw features (B, T, D)."""
        if not self.left_out:
            return self.finish(self.denormalize(tokens), mask)
        wide = tokens.new_zeros(*tokens.shape[:-1], self.width)
        wide[..., self.columns] = tokens
        described = get_representation(self.representation)
        return described.completed(self.finish(self.denormalize(wide), mask), self.left_out, mask)

    def held(self, features: Tensor) -> Tensor:
        """The columns (..., C) that tokens hold, of features (..., D)."""
        return features[..., self.columns] if self.left_out else features

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Mean squared error of the way there and back, which is rounding: there is nothing to train."""
        tokens, mask = self.encode(batch.features, batch.mask)
        error = self.held(self.decode(tokens, mask) - batch.features)[mask]
        return {"monitor/recons_feature": error.square().mean()}
