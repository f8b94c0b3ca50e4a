"""A tokenizer of vectors: four frames at a time through one matrix and back. Causal."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mld.models.contracts.tokens import TokenLayout
from mld.models.tokenizers.normalized import NormalizedTokenizer

STEP = 4


@dataclass
class FoursConfig:
    representation: str = "humanml3d"
    channels: int = 6
    normalizer: str = "identity"


class Fours(NormalizedTokenizer, family="fours"):
    Config = FoursConfig

    def __init__(self, config: FoursConfig, normalizer=None) -> None:
        super().__init__(config, normalizer)
        self.layout = TokenLayout(channels=config.channels, frames_per_token=STEP, causal=True)
        self.down = nn.Linear(STEP * self.width, config.channels)
        self.up = nn.Linear(config.channels, STEP * self.width)

    @classmethod
    def restore(cls, config, parts, folder=None) -> Fours:
        return cls(config)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        whole = features.shape[1] // STEP * STEP
        frames = self.normalize(features[:, :whole]).masked_fill(~mask[:, :whole, None], 0.0)
        return self.down(frames.unflatten(1, (-1, STEP)).flatten(2)), mask[:, :whole].unflatten(1, (-1, STEP)).all(-1)

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.denormalize(self.up(tokens).unflatten(-1, (STEP, self.width)).flatten(1, 2))

    def loss(self, batch, progress: float = 0.0) -> dict[str, Tensor]:
        tokens, mask = self.encode(batch.features, batch.mask)
        kept = mask.repeat_interleave(STEP, 1)
        rebuilt = self.decode(tokens, mask)
        want = self.normalize(batch.features[:, : rebuilt.shape[1]])
        return {"recons_feature": F.mse_loss(self.normalize(rebuilt)[kept], want[kept])}
