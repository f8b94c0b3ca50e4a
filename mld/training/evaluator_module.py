"""Training an evaluator: pairs of motion and caption in, losses out; validated by retrieval in groups of 32.

Clips of one label, or with one caption, count as matches of each other: a small set says the same about many clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.data.datamodule import Pair, caption_of, collate_pairs
from mld.example import CaptionedClip, EvaluatorBatch
from mld.metrics.retrieval import in_groups, similarities
from mld.models.contracts.evaluator import MotionEvaluator
from mld.models.evaluators.base import matching_pairs
from mld.padding import whole_units
from mld.training.module import Samples, TrainingModule

GROUP = 32
SHOWN_RANKS = ("R01", "R03", "R05")


class EvaluatorModule(TrainingModule):
    """Batches are `EvaluatorBatch`es; validation batches are lists of whole clips.

    unit: clips of the validation are cut to a multiple of so many frames, as those of the training are."""

    network: MotionEvaluator
    evaluated: MotionEvaluator

    def __init__(self, *args, unit: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.unit = unit

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch.to(device) if isinstance(batch, EvaluatorBatch) else batch

    def on_validation_epoch_start(self) -> None:
        self._text: list[Tensor] = []
        self._motion: list[Tensor] = []
        self._clips: list[CaptionedClip] = []

    def validation_step(self, clips: list[CaptionedClip], batch_idx: int) -> None:
        batch = self.pairs(clips)
        if len(batch) > 1:  # a contrast needs company
            terms = self.evaluated.loss(batch, self.progress)
            self.record("val", {"loss": self.total(terms), **terms}, len(clips))
        if self.evaluated.can_embed:
            text, motion = self.embed(batch)
            self._text.append(text)
            self._motion.append(motion)
            self._clips += clips

    def on_validation_epoch_end(self) -> None:
        if not self._clips:
            return
        text, motion = torch.cat(self._text), torch.cat(self._motion)
        found = retrieval(text, motion, self._clips, self.evaluated.metric)
        self.log_dict({f"val/{name}": value for name, value in found.items()}, sync_dist=True)

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """For each caption the caption of the clip that fits best, out of the validation clips seen last."""
        samples = Samples()
        if not self._clips:
            return samples
        text, _ = self.embed(self.pairs(clips))
        scores = similarities(text, torch.cat(self._motion), self.evaluated.metric)
        for clip, best in zip(clips, scores.argmax(1).tolist()):
            found = self._clips[best]
            samples.lines.append(f"{clip.captions[0]}  ->  {found.name}: {found.captions[0]}")
        return samples

    def pairs(self, clips: Sequence[CaptionedClip]) -> EvaluatorBatch:
        """Whole clips, as far as the evaluator takes them, with their first captions."""
        longest = self.evaluated.max_frames // self.unit * self.unit
        found = [Pair(whole_units(c.features[:longest], self.unit), caption_of(c), c.label) for c in clips]
        return collate_pairs(found).to(self.device)

    @torch.no_grad()
    def embed(self, batch: EvaluatorBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, E) of captions and motions, on the CPU, computed in full precision if the weights have it."""
        half = self.settings.parallel.precision == "bf16-true"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):  # half precision would make ties
            text = self.evaluated.embed_text(batch.captions)
            motion = self.evaluated.embed_motion(batch.features, batch.mask)
        return text.float().cpu(), motion.float().cpu()


def retrieval(text: Tensor, motion: Tensor, clips: Sequence[CaptionedClip], metric: str) -> dict[str, float]:
    """R@1, 3, 5 in percent both ways, such as `t2m_R01`, among `group_size` items: 32, or all where there are fewer."""
    size = min(GROUP, len(clips))
    captions, labels = [caption_of(clip) for clip in clips], [clip.label for clip in clips]
    right = matching_pairs(captions, labels) | torch.eye(len(clips), dtype=torch.bool)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
    found = in_groups(similarities(text, motion, metric), order, right, size)
    chosen = {f"{way}_{rank}": found[f"{way}/{rank}"] for way in ("t2m", "m2t") for rank in SHOWN_RANKS}
    return {**chosen, "group_size": float(size)}
