"""A motion tokenizer that takes and gives raw features: the statistics live in two buffers beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.registry import get_representation

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer


class NormalizedTokenizer(MotionTokenizer):
    """config: has `representation`, which fixes the width D of features, and `normalizer`, the kind of statistics.

    positions, root: columns of the joint positions and of the root (`Representation.columns`)."""

    def __init__(self, config, normalizer: Normalizer | None = None) -> None:
        super().__init__()
        described = get_representation(config.representation)
        self.config = config
        self.representation = config.representation
        self.width = described.width
        positions = described.columns("positions")
        self.positions = slice(positions[0], positions[-1] + 1)
        self.root = described.columns("root")
        self.register_buffer("feature_mean", torch.zeros(described.width))
        self.register_buffer("feature_std", torch.ones(described.width))
        if normalizer is not None:
            self.set_normalizer(normalizer)

    def set_normalizer(self, normalizer: Normalizer) -> None:
        """Copy the statistics into the buffers; `CheckpointError` when their width does not fit."""
        mean, std = torch.as_tensor(normalizer.mean), torch.as_tensor(normalizer.std)
        if mean.shape != self.feature_mean.shape or std.shape != self.feature_std.shape:
            raise CheckpointError(
                f"statistics of width {tuple(mean.shape)} do not fit representation '{self.representation}' "
                f"of width {len(self.feature_mean)}"
            )
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)
        self.config.normalizer = normalizer.kind

    def normalize(self, features: Tensor) -> Tensor:
        return (features - self.feature_mean) / self.feature_std

    def denormalize(self, features: Tensor) -> Tensor:
        return features * self.feature_std + self.feature_mean

    def smooth_errors(self, got: Tensor, want: Tensor) -> dict[str, Tensor]:
        """Smooth L1 (beta 1) of normalised frames (N, D): of all columns, and again of the joint positions and of the
        root, of which all columns together say little."""
        return {
            "recons_feature": F.smooth_l1_loss(got, want),
            "recons_position": F.smooth_l1_loss(got[:, self.positions], want[:, self.positions]),
            "recons_root": F.smooth_l1_loss(got[:, self.root], want[:, self.root]),
        }
