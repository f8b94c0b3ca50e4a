"""Training a generator over a frozen tokenizer: examples in, losses out; validated on captions and clips both ways."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mld.engine.request import Request
from mld.example import CaptionedClip, Clip, Example, Text
from mld.models.contracts.generator import MotionGenerator
from mld.training.module import MONITOR, Samples, TrainingModule
from mld.training.token_store import tokenize


class GeneratorModule(TrainingModule):
    """Batches are lists of `Example`s; validation batches are lists of whole clips. The tokenizer is not trained; the
    model keeps it in eval mode."""

    network: MotionGenerator
    evaluated: MotionGenerator

    def __init__(self, *args, sample_texts: Sequence[str] = (), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.network.tokenizer.requires_grad_(False)
        self.sample_texts = tuple(sample_texts)
        self._tokens: dict[str, torch.Tensor] = {}

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch  # a model moves what it reads

    def validation_step(self, clips: list[CaptionedClip], batch_idx: int) -> None:
        self._tokens |= tokenize(self.evaluated.tokenizer, [clip for clip in clips if clip.name not in self._tokens])
        for task, examples in both_ways(clips, self._tokens).items():
            terms = self.evaluated.loss(examples)
            named = {f"{task}_{name.removeprefix(MONITOR)}": value for name, value in terms.items()}
            self.record("val", {"loss": self.total(terms), **named}, len(clips))

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """Motions made from the sample texts (or the captions of the clips), and captions made from the clips."""
        from mld.engine.pipeline import Pipeline

        texts = self.sample_texts or [clip.captions[0] for clip in clips]
        wanted = [Request((Text(text),), "motion", seed=i) for i, text in enumerate(texts)]
        wanted += [Request((Clip(features=clip.features),), "text", seed=i) for i, clip in enumerate(clips)]
        answers = Pipeline(self.evaluated).run(wanted)
        motions, captions = answers[: len(texts)], answers[len(texts) :]
        return Samples(
            motions=[answer.motion for answer in motions],
            titles=list(texts),
            lines=[f"{clip.captions[0]}  ->  {answer.text}" for clip, answer in zip(clips, captions)],
        )


def both_ways(clips: Sequence[CaptionedClip], tokens: dict[str, torch.Tensor]) -> dict[str, list[Example]]:
    """Text-to-motion and motion-to-text examples of the first caption of each clip."""
    t2m, m2t = [], []
    for clip in clips:
        text, motion = Text(clip.captions[0]), Clip(features=clip.features, tokens=tokens[clip.name])
        t2m.append(Example((text,), (motion,), clip.num_frames, clip.name))
        m2t.append(Example((motion,), (text,), clip.num_frames, clip.name))
    return {"t2m": t2m, "m2t": m2t}
