"""A motion tokenizer that takes and gives raw features: the statistics live in two buffers beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import CheckpointError, ConfigError
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.tokenizers.body_losses import body_losses
from mld.motion.representations.registry import get_representation

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer


class NormalizedTokenizer(MotionTokenizer):
    """config: has `representation`, which fixes the width D of features, and `normalizer`, the kind of statistics; and
    what decoded features go through (`finish`): `steady`, places agree with velocities, and `fixed_bones`.

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
        self._check_finish(causal=False)
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

    @property
    def _finishing(self) -> list[str]:
        """The methods of the representation that `finish` calls, in order: velocities tell more before bones move. None
        for a family without these settings."""
        methods = {"steady": "steadied", "fixed_bones": "with_fixed_bones"}
        return [method for setting, method in methods.items() if getattr(self.config, setting, False)]

    def _check_finish(self, causal: bool) -> None:
        """`ConfigError` where the columns, or a tokenizer that makes motion piece by piece, cannot do what is set."""
        able = get_representation(self.representation).finishes
        if self._finishing and (able is None or (causal and able != "pieces")):
            why = "of a causal tokenizer, which makes them piece by piece" if able else "of these columns"
            raise ConfigError(
                f"steady and fixed_bones: '{self.representation}' has no such decoding {why}; leave both false"
            )

    def finish(self, features: Tensor, mask: Tensor) -> Tensor:
        """Raw features (B, T, D) of whole motions, decoded, with mask (B, T), as the settings want them."""
        for method in self._finishing:
            features, _ = getattr(get_representation(self.representation), method)(features, mask)
        return features

    def finish_piece(self, features: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same for rows (B, n, D) that come after others; before: of `nothing_before`, or what came with those."""
        after = []
        for method, told in zip(self._finishing, before, strict=True):
            features, new = getattr(get_representation(self.representation), method)(features, None, told)
            after.append(new)
        return features, tuple(after)

    def nothing_before(self, rows: int) -> tuple[Tensor, ...]:
        """What `finish_piece` is told of so many motions that begin."""
        size = (rows, 2 * get_representation(self.representation).skeleton.num_joints, 3)
        return tuple(self.feature_mean.new_zeros(size) for _ in self._finishing)

    def body_losses(self, got: Tensor, want: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Optional losses of normalised features (B, T, D) against real ones, with mask (B, T)."""
        made, real = self.denormalize(got), self.denormalize(want)
        return body_losses(get_representation(self.representation), made, real, mask, self.optional_losses)

    def smooth_errors(self, got: Tensor, want: Tensor) -> dict[str, Tensor]:
        """Smooth L1 (beta 1) of normalised frames (N, D): of all columns, and again of the joint positions and of the
        root, of which all columns together say little."""
        return {
            "recons_feature": F.smooth_l1_loss(got, want),
            "recons_position": F.smooth_l1_loss(got[:, self.positions], want[:, self.positions]),
            "recons_root": F.smooth_l1_loss(got[:, self.root], want[:, self.root]),
        }
