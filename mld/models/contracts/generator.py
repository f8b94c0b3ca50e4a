"""A generator answers prompts of text and motion with motion or text."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mld.example import Clip, Example, Reference, Segment
from mld.models.contracts.network import Network, Parts
from mld.models.contracts.sampling import Decoding, Denoising, Streaming
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.padding import padded

Output = Literal["motion", "text"]


class Shape(NamedTuple):
    """What a request looks like: what is wanted, how many motions are given (for words: none, or some), and whether a
    reference motion is."""

    output: Output
    clips: int = 0
    reference: bool = False

    @classmethod
    def of(cls, prompt: Sequence[Segment], output: Output) -> Shape:
        """The shape of a prompt and what is wanted from it."""
        clips = sum(isinstance(part, Clip) for part in prompt)
        references = any(isinstance(part, Reference) for part in prompt)
        return cls(output, min(clips, 1) if output == "text" else clips, references)


class MotionGenerator(Network):
    """Owns `tokenizer`, a `MotionTokenizer`, which it never trains. P, a prompt, is the model's own; its length counts
    tokens.

    answers: the shapes of what it can be asked. A family that answers with motion has `start`, when tokens are made one
    after the other, or `denoise`, when all are made at once (it then comes first); one that answers with words has
    `start` and `read_text`. shard_units: modules that are sharded as a whole when a model is spread over devices.
    tables: embeddings that may be kept in half precision (`mld.models.quantization`). published: settings of its config
    with which the published tests ask and read answers."""

    kind: ClassVar[str] = "generator"
    needs: ClassVar[tuple[str, ...]] = ("tokenizer",)
    answers: ClassVar[frozenset[Shape]] = frozenset()
    shard_units: ClassVar[tuple[type[nn.Module], ...]] = ()
    tables: ClassVar[tuple[str, ...]] = ()
    published: ClassVar[Mapping[str, Any]] = {}
    tokenizer: MotionTokenizer

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(family=family, **kwargs)
        if not family or inspect.isabstract(cls):
            return
        outputs = {shape.output for shape in cls.answers}
        if not outputs:
            raise TypeError(f"{cls.__name__}: a generator family says in `answers` what it can be asked")
        if "motion" in outputs and not (cls.in_order() or cls.at_once()):
            raise TypeError(f"{cls.__name__}: a family that answers with motion has `start` or `denoise`")
        if "text" in outputs and not (cls.in_order() and cls.read_text is not MotionGenerator.read_text):
            raise TypeError(f"{cls.__name__}: a family that answers with words has `start` and `read_text`")

    def activation_bytes(self, items: int, frames: int, half: bool, again: bool) -> int | None:
        """Bytes that a training step keeps of a batch of so many of the longest items, none where that is not known.
        half: under autocast in half precision; again: with activation checkpointing."""
        return None

    @classmethod
    def in_order(cls) -> bool:
        """Whether tokens can be made one after the other."""
        return cls.start is not MotionGenerator.start

    @classmethod
    def at_once(cls) -> bool:
        """Whether the tokens of a motion are made all at once."""
        return cls.denoise is not MotionGenerator.denoise

    @classmethod
    def streams(cls) -> bool:
        """Whether tokens can be made without an end, while words change."""
        return cls.streaming is not MotionGenerator.streaming

    def train(self, mode: bool = True) -> MotionGenerator:
        """The motion tokenizer stays in eval mode: what a token means must not move."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @property
    def representation(self) -> str:
        """Name of the representation that motions are read and written in."""
        return self.tokenizer.representation

    @property
    def counts_tokens(self) -> bool:
        """Whether lengths, heads and masks of instruction templates count tokens in training (compat)."""
        return False

    @property
    def keeps_given(self) -> bool:
        """Whether a motion that goes on from given frames keeps them."""
        return True

    @property
    def reads_lengths(self) -> bool:
        """Whether a length in words at the end of a text is taken as the wanted one: for models to which their training
        tells no length, so that words alone would not do it."""
        return False

    @classmethod
    @abstractmethod
    def create(cls, config: Any, parts: Parts, corpus: Sequence[str]) -> MotionGenerator:
        """A new model to train: pretrained language model from `config` or one built from scratch on `corpus`."""

    @abstractmethod
    def adopt(self, config: Any) -> None:
        """Take over the settings of `config` that are not architecture, for a later stage of training."""

    @abstractmethod
    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """Named, unweighted loss terms; `monitor/...` values are logged only. Clips may carry ready-made tokens.

        progress: how far training is, 0 to 1."""

    def answer_as_published(self) -> None:
        """Take over the settings in `published`, from now on."""
        if self.published:
            self.adopt(replace(self.config, **self.published))

    # what the engine drives

    @torch.no_grad()
    def tokenize(self, clips: Iterable[Clip]) -> list[Tensor]:
        """Tokens (L,) or (L, C) of each clip, on the CPU. Clips that have tokens keep them; the others are encoded
        together."""
        clips = list(clips)
        found = {i: clip.tokens.cpu() for i, clip in enumerate(clips) if clip.tokens is not None}
        if not self.tokenizer.layout.count(0):
            found |= {i: self.tokenizer.layout.blank(0) for i, clip in enumerate(clips) if _empty(clip)}
        todo = [i for i in range(len(clips)) if i not in found]
        if todo:
            tokens, mask = self.tokenizer.encode(*padded([clips[i].features for i in todo], self.device))
            found.update({i: row[keep].cpu() for i, row, keep in zip(todo, tokens, mask)})
        return [found[i] for i in range(len(clips))]

    @abstractmethod
    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Sized:
        """P: what asks for an answer. Clips may have tokens from `tokenize`. num_frames: wanted length of the whole
        motion."""

    def unknown_words(self, text: str) -> tuple[str, int]:
        """The words of a text that are written in letters or signs that the model never saw, and how many percent of
        the letters those are; none where the model cannot tell. One that reads by an encoder knows its letters."""
        letters = getattr(self.parts.get("text"), "letters", None)
        if letters is None:
            return "", 0
        from mld.models.backbones.text_tokenizer import unknown_words

        return unknown_words(text, letters)

    def left_out(self, prompt: Sequence[Segment]) -> str:
        """What to say of a text that is longer than the model reads; nothing where it is read to its end."""
        return ""

    def longest_prompt(self, output: Output) -> int | None:
        """How many tokens a prompt may have; none for any number."""
        return None

    def most_tokens(self) -> int | None:
        """How many tokens a motion may have that is made token after token; none for any number."""
        return None

    def start(self, prompts: Sequence[Any], output: Output, counts: Sequence[int | None]) -> Decoding:
        """Begin answers to prompts P, made token after token. counts: wanted tokens of each motion, none to leave it
        open."""
        raise TypeError(f"{type(self).__name__} does not make tokens one after the other")

    def streaming(self, rows: int) -> Streaming:
        """Room for motions without an end. A family that has it has a tokenizer that streams."""
        raise TypeError(f"{type(self).__name__} does not make motions without an end")

    def denoise(self, prompts: Sequence[Any]) -> Denoising:
        """Begin motions for prompts P, made all tokens at once."""
        raise TypeError(f"{type(self).__name__} does not make the tokens of a motion at once")

    def read_motion(self, tokens: Tensor) -> Tensor:
        """The motion tokens (L,) or (L, C) in an answer that was made token after token; none where it holds no
        motion."""
        return tokens

    def read_text(self, tokens: Tensor) -> str:
        """The text of an answer in tokens (L,)."""
        raise TypeError(f"{type(self).__name__} does not answer with words")


def _empty(clip: Clip) -> bool:
    return clip.tokens is None and not len(clip.features)
