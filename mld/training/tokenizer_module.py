"""Training a motion tokenizer: reconstruct windows of motion; validate on whole clips, also in millimetres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mld.data.datamodule import collate_features
from mld.example import CaptionedClip, FeatureBatch
from mld.metrics.code_use import perplexity
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.registry import get_representation
from mld.padding import whole_units
from mld.training.module import Samples, TrainingModule
from mld.training.run_config import TrainingConfig


class TokenizerModule(TrainingModule):
    """Batches are `FeatureBatch`es of raw features; validation batches are lists of whole clips."""

    network: MotionTokenizer
    evaluated: MotionTokenizer

    def __init__(self, network: MotionTokenizer, training: TrainingConfig, weights: Mapping[str, float]) -> None:
        super().__init__(network, training, weights)
        network.optional_losses = tuple(weights)

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch.to(device) if isinstance(batch, FeatureBatch) else batch

    def batch_size(self, batch: FeatureBatch) -> int:
        return len(batch.features)

    def on_validation_epoch_start(self) -> None:
        self._counts = torch.zeros(self.evaluated.layout.codebook_size, dtype=torch.long, device=self.device)

    def validation_step(self, clips: list[CaptionedClip], batch_idx: int) -> None:
        batch = pad_clips(clips, self.evaluated.layout.frames_per_token).to(self.device)
        terms = self.evaluated.loss(batch, self.progress)
        rebuilt, mask, tokens = reconstruct(self.evaluated, batch)
        errors = joint_errors(self.evaluated, batch.features, rebuilt, mask)
        if self.evaluated.layout.codebook_size:
            self._counts += tokens.bincount(minlength=len(self._counts))
        self.record("val", {"loss": self.total(terms), **terms, **errors}, len(clips))

    def on_validation_epoch_end(self) -> None:
        """Of all codes of the split, on all processes: how evenly they are used, and which share of the codebook."""
        if self.evaluated.layout.codebook_size:
            counts = self.trainer.strategy.reduce(self._counts, reduce_op="sum")
            self.log("val/code_perplexity", perplexity(counts).float(), sync_dist=True)
            self.log("val/codebook_used", (counts > 0).float().mean(), sync_dist=True)

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """Each clip and, below it, its reconstruction."""
        samples = Samples()
        representation = get_representation(self.evaluated.representation)
        for clip in clips:
            batch = pad_clips([clip], self.evaluated.layout.frames_per_token).to(self.device)
            rebuilt, _, _ = reconstruct(self.evaluated, batch)
            samples.motions += [representation.decode(batch.features[0]), representation.decode(rebuilt[0])]
            samples.titles += [f"{clip.name}: {clip.captions[0]}", "reconstructed"]
        return samples


def pad_clips(clips: Sequence[CaptionedClip], unit: int) -> FeatureBatch:
    """Whole clips, each cut to a multiple of `unit` frames (and at least one unit, repeating its last frame).

    unit 0: as they are."""
    return collate_features([(clip.name, whole_units(clip.features, unit)) for clip in clips])


@torch.no_grad()
def reconstruct(tokenizer: MotionTokenizer, batch: FeatureBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Raw features (B, T, D) after encoding and decoding, their mask (B, T), and the tokens (N,) or (N, C) used."""
    tokens, mask = tokenizer.encode(batch.features, batch.mask)
    rebuilt = tokenizer.decode(tokens, mask, batch.mask)
    if tokenizer.layout.frames_per_token == 0:
        return rebuilt, batch.mask, tokens[mask]
    return rebuilt, mask.repeat_interleave(tokenizer.layout.frames_per_token, dim=1), tokens[mask]


def joint_errors(tokenizer: MotionTokenizer, features: Tensor, rebuilt: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Mean distances in millimetres over real frames: of the joints relative to the root (`mpjpe_mm`, MotionGPT spec
    5.3), and of the root itself (`root_mm`), whose small errors of speed and heading add up along a clip."""
    representation = get_representation(tokenizer.representation)
    joints = [representation.decode_joints(x[:, : mask.shape[1]].float()) for x in (features, rebuilt)]
    local = [x - x[:, :, :1] for x in joints]
    millimetres = 1000 * representation.skeleton.metres_per_unit
    distance = (local[0] - local[1]).norm(dim=-1).mean(dim=-1)
    drift = (joints[0][:, :, 0] - joints[1][:, :, 0]).norm(dim=-1)
    return {"mpjpe_mm": millimetres * distance[mask].mean(), "root_mm": millimetres * drift[mask].mean()}
