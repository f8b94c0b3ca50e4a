"""Training a generator over a frozen tokenizer: examples in, losses out; validated on captions and clips both ways."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mld.engine.request import Request
from mld.example import CaptionedClip, Clip, Example, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.training.module import MONITOR, Samples, TrainingModule
from mld.training.token_store import tokenize

FROM_WORDS, TO_WORDS = Shape("motion"), Shape("text", 1)
NAMES = {FROM_WORDS: "t2m", TO_WORDS: "m2t"}  # of validation losses


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
        for way, examples in self._ways(clips).items():
            terms = self.evaluated.loss(examples, self.progress)
            named = {f"{way}_{name.removeprefix(MONITOR)}": value for name, value in terms.items()}
            self.record("val", {"loss": self.total(terms), **named}, len(clips))

    def _ways(self, clips: list[CaptionedClip]) -> dict[str, list[Example]]:
        """Examples by the name of their way, of those that the model can be asked."""
        found = both_ways(clips, self._tokens)
        return {name: found[shape] for shape, name in NAMES.items() if shape in self.evaluated.answers}

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """Motions made from the sample texts (or the captions of the clips), and captions made from the clips."""
        from mld.engine.pipeline import Pipeline

        answers = self.evaluated.answers
        texts = (self.sample_texts or [clip.captions[0] for clip in clips]) if FROM_WORDS in answers else []
        wanted = [Request((Text(text),), "motion", seed=i) for i, text in enumerate(texts)]
        described = clips if TO_WORDS in answers else []
        wanted += [Request((Clip(features=clip.features),), "text", seed=i) for i, clip in enumerate(described)]
        made = Pipeline(self.evaluated, bones="clip").run(wanted)
        motions, captions = made[: len(texts)], made[len(texts) :]
        return Samples(
            motions=[answer.motion for answer in motions],
            titles=list(texts),
            lines=[f"{clip.captions[0]}  ->  {answer.text}" for clip, answer in zip(described, captions)],
        )


def both_ways(clips: Sequence[CaptionedClip], tokens: dict[str, torch.Tensor]) -> dict[Shape, list[Example]]:
    """Motion from words and words for motion: examples of the first caption of each clip."""
    made, said = [], []
    for clip in clips:
        text, motion = Text(clip.captions[0]), Clip(features=clip.features, tokens=tokens[clip.name])
        made.append(Example((text,), (motion,), clip.num_frames, clip.name))
        said.append(Example((motion,), (text,), clip.num_frames, clip.name))
    return {FROM_WORDS: made, TO_WORDS: said}
