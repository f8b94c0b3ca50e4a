"""Training a generator over a frozen tokenizer: examples in, losses out; validated on captions and clips both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mld.engine.request import Request
from mld.example import CaptionedClip, Clip, Example, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.contracts.tokens import TokenLayout
from mld.training.module import MONITOR, Samples, TrainingModule
from mld.training.token_encoding import tokenize

FROM_WORDS, TO_WORDS, GOING_ON = Shape("motion"), Shape("text", 1), Shape("motion", 1)
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
        goes_on = GOING_ON in self.evaluated.answers
        found = both_ways(clips, self._tokens, self.evaluated.tokenizer.layout, goes_on)
        return {name: found[shape] for shape, name in NAMES.items() if shape in self.evaluated.answers}

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """Motions made from the sample texts (or the captions of the clips), and captions made from the clips."""
        from mld.engine.pipeline import Pipeline

        answers = self.evaluated.answers
        texts = (self.sample_texts or [clip.captions[0] for clip in clips]) if FROM_WORDS in answers else []
        given = [] if self.sample_texts or GOING_ON not in answers else [_given(clip) for clip in clips]
        given += [()] * (len(texts) - len(given))
        wanted = [Request((Text(text), *given[i]), "motion", seed=i) for i, text in enumerate(texts)]
        described = clips if TO_WORDS in answers else []
        rests = [Clip(features=clip.features[clip.history :]) for clip in described]
        wanted += [Request((rest,), "text", seed=i) for i, rest in enumerate(rests)]
        made = Pipeline(self.evaluated, bones="clip").run(wanted)
        motions, captions = made[: len(texts)], made[len(texts) :]
        return Samples(
            motions=[answer.motion for answer in motions],
            titles=list(texts),
            lines=[f"{clip.captions[0]}  ->  {answer.text}" for clip, answer in zip(described, captions)],
        )


def both_ways(
    clips: Sequence[CaptionedClip], tokens: dict[str, torch.Tensor], layout: TokenLayout, goes_on: bool = True
) -> dict[Shape, list[Example]]:
    """Motion from words and words for motion: examples of the first caption of each clip. tokens: by clip name, of the
    whole clip. Where a clip begins with a given motion the words are of what follows; that goes on from the given
    motion, unless `goes_on` is false: then the words are all that there is."""
    made, said = [], []
    for clip in clips:
        text, (before, motion) = Text(clip.captions[0]), _split(clip, tokens[clip.name], layout)
        alone, frames = replace(motion, start=0), clip.num_frames - motion.start
        if before and goes_on:
            made.append(Example((text, *before), (motion,), clip.num_frames, clip.name))
        else:
            made.append(Example((text,), (alone,), frames, clip.name))
        said.append(Example((alone,), (text,), frames, clip.name))
    return {FROM_WORDS: made, TO_WORDS: said}


def _split(clip: CaptionedClip, tokens: torch.Tensor, layout: TokenLayout) -> tuple[tuple[Clip, ...], Clip]:
    """What of a clip is given, in whole tokens, and the rest; nothing and all of it where nothing is given."""
    unit = layout.frames_per_token
    start = clip.history // layout.unit * layout.unit
    if not start:
        return (), Clip(features=clip.features, tokens=tokens)
    parts = clip.features[:start], clip.features[start:]
    if not unit:  # latents of the whole clip say nothing of its parts
        return (Clip(features=parts[0]),), Clip(features=parts[1], start=start)
    axis = tokens.ndim - (2 if layout.channels else 1)
    given, rest = tokens.split([start // unit, tokens.shape[axis] - start // unit], axis)
    return (Clip(features=parts[0], tokens=given),), Clip(features=parts[1], tokens=rest, start=start)


def _given(clip: CaptionedClip) -> tuple[Clip, ...]:
    return (Clip(features=clip.features[: clip.history]),) if clip.history else ()
