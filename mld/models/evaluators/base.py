"""What all evaluators share: a feature width, statistics in two buffers, checks of the input, a fingerprint.

The statistics belong to the evaluator, not to the data or the model under test (evaluation spec 1.4): raw features come
in, so nobody has to renormalise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mld.errors import CheckpointError, ConfigError, DataError
from mld.example import Caption
from mld.models.contracts.evaluator import Mode, MotionEvaluator
from mld.models.fingerprint import tensor_hash
from mld.motion.representations.registry import get_representation

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

MODES = ("strict", "upstream")


class FeatureEvaluator(MotionEvaluator):
    """config needs the fields representation, nfeats, fps and normalizer (kind of the statistics)."""

    locations: ClassVar[tuple[str, ...]] = ()  # config fields that say where something was read from

    def __init__(self, config: Any, normalizer: Normalizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.representation = config.representation
        self.nfeats = config.nfeats or get_representation(config.representation).width
        self.fps = config.fps or get_representation(config.representation).fps
        self.register_buffer("feature_mean", torch.zeros(self.nfeats))
        self.register_buffer("feature_std", torch.ones(self.nfeats))
        if normalizer is not None:
            self.set_normalizer(normalizer)

    def set_normalizer(self, normalizer: Normalizer) -> None:
        """Copy the statistics into the buffers; `CheckpointError` when their width does not fit."""
        if normalizer.width != self.nfeats:
            raise CheckpointError(
                f"statistics have {normalizer.width} columns, the evaluator reads {self.nfeats} "
                f"('{self.representation}')"
            )
        self.feature_mean.copy_(normalizer.mean)
        self.feature_std.copy_(normalizer.std)
        self.config.normalizer = normalizer.kind

    def check_clips(self, representation: str, fps: float) -> None:
        """`DataError` when clips of this representation and frame rate are not what the evaluator was trained on."""
        if representation != self.representation or abs(fps - self.fps) > 1e-3:
            raise DataError(
                f"the evaluator reads '{self.representation}' at {self.fps:g} fps, but the clips are "
                f"'{representation}' at {fps:g} fps; choose an evaluator for them or convert the clips"
            )

    def normalized(self, features: Tensor, mask: Tensor) -> Tensor:
        """Raw features (B, T, D) in units of the statistics, 0 outside mask (B, T). Checks both first."""
        self.check_features(features, mask)
        known = (features - self.feature_mean) / self.feature_std
        return known.masked_fill(~mask[..., None], 0.0)

    def check_features(self, features: Tensor, mask: Tensor) -> None:
        """One-line `DataError` for features that cannot be embedded; only real frames are looked at."""
        if features.ndim != 3 or features.shape[-1] != self.nfeats:
            raise DataError(
                f"the evaluator reads features (B, T, {self.nfeats}) ('{self.representation}'), got "
                f"{tuple(features.shape)}"
            )
        if mask.shape != features.shape[:2] or mask.dtype != torch.bool:
            raise DataError(
                f"the mask has to be bool {tuple(features.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            )
        if not len(mask):
            raise DataError("there are no motions to embed")
        lengths = mask.sum(1)
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise DataError("a mask has real frames after hidden ones; real frames have to come first")
        if not self.min_frames <= int(lengths.min()) <= int(lengths.max()) <= self.max_frames:
            row = int(((lengths < self.min_frames) | (lengths > self.max_frames)).nonzero()[0])
            raise DataError(
                f"motion {row} has {int(lengths[row])} frames; the evaluator takes {self.min_frames} to "
                f"{self.max_frames}: leave it out or crop it"
            )
        finite = features.isfinite().all(-1) | ~mask
        if not finite.all():
            row, frame = finite.logical_not().nonzero()[0].tolist()
            raise DataError(f"motion {row} holds NaN or infinity from frame {frame} on; leave it out")

    def fingerprint(self) -> str:
        """16 hexadecimal digits over config, weights, statistics and the text side's assets."""
        config = {key: value for key, value in asdict(self.config).items() if key not in self.locations}
        digest = hashlib.sha256(json.dumps([self.family, config], sort_keys=True).encode())
        digest.update(tensor_hash(self.state_dict().items()).encode())
        for part in self.text_identity():
            digest.update(part.encode())
        return digest.hexdigest()[:16]

    def text_identity(self) -> Iterable[str]:
        """What the text side depends on besides the state dict."""
        return ()


def check_captions(captions: Sequence[Caption]) -> None:
    """`DataError` names the first caption without text."""
    if not captions:
        raise DataError("there are no captions to embed")
    for row, caption in enumerate(captions):
        if not caption.text.strip() and not caption.tokens:
            raise DataError(f"caption {row} is empty; leave it out or give it words")


def check_mode(mode: Mode) -> None:
    if mode not in MODES:
        raise ConfigError(f"evaluator mode '{mode}' is not known; known: {', '.join(MODES)}")


def matching_pairs(captions: Sequence[Caption], labels: Sequence[str]) -> Tensor:
    """(B, B) bool: True where two rows say the same, by equal text or equal label; the diagonal is False."""
    count = len(captions)
    labels = labels or ("",) * count
    texts = [caption.text.strip().lower() or " ".join(caption.tokens) for caption in captions]
    same = [[texts[i] == texts[j] or (labels[i] != "" and labels[i] == labels[j]) for j in range(count)]
            for i in range(count)]  # fmt: skip
    return torch.tensor(same, dtype=torch.bool).view(count, count).fill_diagonal_(False)
