"""A generator reads text and motion and answers in either."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterable, Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from mld.example import Clip, Example, Segment
from mld.models.contracts.network import Network, Parts
from mld.models.contracts.tokenizer import MotionTokenizer

if TYPE_CHECKING:
    from mld.models.backbones.layers import Decoding
    from mld.models.generation import GenerationSettings
    from mld.models.grammar import Grammar

Output = Literal["motion", "text"]


class MotionGenerator(Network):
    """A model that reads and writes motion and text.

    Subclasses set `tasks`, the names of the tasks they can do, and own `tokenizer`, a `MotionTokenizer`. writes: how a
    motion is answered: "codes" one after the other, or "latents" of the whole clip at once; the engine has a writer
    for each."""

    kind: ClassVar[str] = "generator"
    needs: ClassVar[tuple[str, ...]] = ("tokenizer",)
    tasks: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[Literal["codes", "latents"]] = "codes"
    tokenizer: MotionTokenizer

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(family=family, **kwargs)
        if family and not cls.tasks and not inspect.isabstract(cls):
            raise TypeError(f"{cls.__name__}: a model family lists its tasks")

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

    # what the engine drives. P, a prompt, is the model's own; its length counts tokens

    @abstractmethod
    def tokenize(self, clips: Iterable[Clip]) -> list[Tensor]:
        """Tokens of each clip, on the CPU: codes (L,) or scaled latents (L, C). Clips that have tokens keep them."""

    @abstractmethod
    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Sized:
        """P: what asks for an answer. Clips may have tokens from `tokenize`. num_frames: wanted length of the whole
        motion."""

    @abstractmethod
    def longest_prompt(self, output: Output) -> int:
        """How many tokens a prompt may have."""

    @abstractmethod
    def settings(self, output: Output) -> GenerationSettings:
        """How tokens of an answer are sampled."""

    @abstractmethod
    def grammar(self, output: Output) -> Grammar:
        """What an answer in tokens may look like under the settings for this output."""

    @abstractmethod
    def start(self, prompts: Sequence[Any]) -> Decoding:
        """Begin answers in tokens to prompts P."""

    @abstractmethod
    def read_text(self, ids: Sequence[int]) -> str:
        """The text of an answer in tokens."""
