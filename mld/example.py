"""What travels between data, models and the engine: captioned clips, examples and their segments.

An `Example` is an ordered prompt and target, each a sequence of segments. Every task is a way to build one:
text-to-motion is `[Text] -> [Clip]`, captioning `[Clip] -> [Text]`, prediction `[Clip head] -> [Clip rest]`,
in-between `[Clip head, Clip tail] -> [Clip]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Text:
    """A piece of text. `verbatim` text is an instruction to be used word for word; otherwise it is a caption,
    which a model may wrap in the prompt it was trained on."""

    text: str
    verbatim: bool = False


@dataclass(frozen=True, eq=False)
class Clip:
    """A stretch of motion: raw (not normalised) `features` (T, D) and/or motion `tokens`: codes (L,), or the posterior
    (2, S, C) of its S latents, means and log variances.

    `start` is the frame at which the stretch begins on the time line of its example. Two neighbouring clips with a
    gap between them mean "fill the gap": a model sees `start - (previous start + its length)` hidden frames.
    `joints` (T, J, 3), metres, are the world positions of the same frames; an answer keeps them exactly.
    """

    features: Tensor | None = None
    tokens: Tensor | None = None
    start: int = 0
    joints: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """A motion (T, D), raw features, that conditions an answer and is not part of it."""

    features: Tensor


Segment = Text | Clip | Reference


def said(prompt: Sequence[Segment]) -> str:
    """The words of a prompt."""
    return " ".join(part.text.strip() for part in prompt if isinstance(part, Text)).strip()


@dataclass(frozen=True)
class Example:
    """Prompt and target of one training or evaluation item; `num_frames` is the length of the whole clip. supervised:
    names of the feature blocks that the loss counts, None for all. caption: the one in the prompt, where there is one
    among its words."""

    prompt: tuple[Segment, ...]
    target: tuple[Segment, ...]
    num_frames: int = 0
    name: str = ""
    supervised: frozenset[str] | None = None
    caption: str = ""


@dataclass(frozen=True, eq=False)
class CaptionedClip:
    """One clip as every data source delivers it.

    features: (T, D) float32, raw features of the source's representation. captions: raw sentences, at least one.
    caption_tokens: per caption the `word/POS` tokens, empty where the source has none. label: clips of one label count
    as matches. tokens: motion codes (L,) once a tokenizer has been applied; for a tokenizer that gives a clip of any
    length the same number of latents, their posteriors (2, S, C) by stretch (first frame, frame after the last).
    history: so many leading frames are given; the captions are of what follows.
    reference: (T, D) what stands for the clip where a motion is the condition; none for its own features. text_share:
    how often words are the condition instead, for captions that are worth less than the mixture takes them for; none
    as the mixture has it. supervised: blocks of features that a loss counts where words are the condition, none: all.
    """

    name: str
    features: Tensor
    captions: tuple[str, ...]
    fps: float
    caption_tokens: tuple[tuple[str, ...], ...] = ()
    label: str = ""
    tokens: Tensor | Mapping[tuple[int, int], Tensor] | None = field(default=None)
    history: int = 0
    reference: Tensor | None = None
    text_share: float | None = None
    supervised: frozenset[str] | None = None

    @property
    def num_frames(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Padded raw features (B, T, D), their mask (B, T) bool (True = real frame) and names, for tokenizer training."""

    features: Tensor
    mask: Tensor
    names: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> FeatureBatch:
        return FeatureBatch(self.features.to(device), self.mask.to(device), self.names)


@dataclass(frozen=True)
class Caption:
    """One sentence. tokens: its `word/POS` items as data sets store them, empty for a raw sentence."""

    text: str
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EvaluatorBatch:
    """Pairs of motion and caption, for the training of an evaluator.

    features: (B, T, D) raw, padded. mask: (B, T) bool, True = real frame, the first frames of each row. captions: one
    per row. labels: rows of one label match each other; "" or an empty tuple where there are none.
    """

    features: Tensor
    mask: Tensor
    captions: tuple[Caption, ...]
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.captions)

    def to(self, device: torch.device | str) -> EvaluatorBatch:
        return EvaluatorBatch(self.features.to(device), self.mask.to(device), self.captions, self.labels)
