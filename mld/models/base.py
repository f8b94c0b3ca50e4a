"""The contract of every network in `mld.models`, and the registry that finds a family by its name.

A class names its family when it is defined (`class MotionGPT(MotionModel, family="motiongpt")`) and the definition
fails if the class has no config dataclass. `find(kind, family)` returns the class. A tokenizer turns motion into
tokens and back; a model answers requests and owns a tokenizer; an evaluator puts motion and text into one space. All
hold their normalizer: raw features go in and out.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from mld.data.example import Caption, Clip, EvaluatorBatch, Example, FeatureBatch, Segment
from mld.errors import ConfigError

if TYPE_CHECKING:
    from mld.models.backbones.layers import Decoding
    from mld.models.generation import GenerationSettings
    from mld.models.grammar import Grammar
    from mld.motion.normalizer import Normalizer

Mode = Literal["strict", "upstream"]
Output = Literal["motion", "text"]

_registry: dict[tuple[str, str], type[Network]] = {}


def find(kind: str, family: str) -> type[Network]:
    """The class registered for `kind` ("tokenizer", "model", "evaluator") and `family`.

    `ConfigError` names the nearest family."""
    import mld.models.families  # noqa: F401  (defining the classes registers them)

    if (kind, family) not in _registry:
        known = sorted(f for k, f in _registry if k == kind)
        near = difflib.get_close_matches(family, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no {kind} family '{family}'; {hint}")
    return _registry[kind, family]


class Network(nn.Module, ABC):
    """What tokenizers, models and evaluators share: a family name, a typed config, a place in the registry.

    config: an instance of `Config`, the family's dataclass; it alone rebuilds the architecture, offline.
    """

    kind: ClassVar[str] = ""
    family: ClassVar[str] = ""
    Config: ClassVar[type]
    config: Any

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not family:
            return
        if not dataclasses.is_dataclass(getattr(cls, "Config", None)):
            raise TypeError(f"{cls.__name__}: a registered family needs a dataclass named Config")
        if not cls.kind:
            raise TypeError(f"{cls.__name__}: derive from MotionTokenizer, MotionModel or MotionEvaluator")
        cls.family = family
        _registry[cls.kind, family] = cls

    @classmethod
    @abstractmethod
    def restore(cls, config: Any, folder: Path | None = None) -> Network:
        """The architecture of `config` with weights yet to be loaded; `folder` holds text-tokenizer files, if any."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that are trained, by the name of a group that may have optimizer settings of its own."""
        return {"all": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def save_assets(self, folder: Path) -> None:
        """Write what is not a tensor (text-tokenizer files) into a model folder. Nothing by default."""


class MotionTokenizer(Network):
    """Motion <-> tokens. Subclasses set `representation` (its name), `frames_per_token` and `codebook_size`.

    codebook_size 0: tokens are continuous, (B, L, C) float latents of `latent_channels` C. frames_per_token 0: a clip
    of any length is `tokens_per_clip` tokens; then `decode` is told the wanted frames. longest: frames of the longest
    clip that it takes, 0 for any length."""

    kind: ClassVar[str] = "tokenizer"
    representation: str
    frames_per_token: int
    codebook_size: int
    tokens_per_clip: int = 0
    latent_channels: int = 0
    longest: int = 0

    def measure(self, clips: Iterable[Tensor]) -> None:  # noqa: B027  (most have nothing to measure)
        """Called once on a new tokenizer with the training clips, raw features (T, D)."""

    @abstractmethod
    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D) and mask (B, T) -> tokens (B, L) int64 or (B, L, C) float, and their mask (B, L).

        A row's tokens do not depend on its padding or on other rows."""

    @abstractmethod
    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Tokens (B, L) or (B, L, C) and mask (B, L) -> raw features (B, T, D); masked frames are undefined.

        T is L * frames_per_token, or that of `frames` (B, T) bool, the wanted frames, where frames_per_token is 0."""

    @abstractmethod
    def loss(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Named, unweighted loss terms and, under names that start with `monitor/`, values to be logged only."""


class MotionModel(Network):
    """A model that reads and writes motion and text.

    Subclasses set `tasks`, the names of the tasks they can do, and own `tokenizer`, a `MotionTokenizer`. writes: how a
    motion is answered: "codes" one after the other, or "latents" of the whole clip at once; the engine has a writer
    for each."""

    kind: ClassVar[str] = "model"
    tasks: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[Literal["codes", "latents"]] = "codes"
    tokenizer: MotionTokenizer

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(family=family, **kwargs)
        if family and not cls.tasks and not inspect.isabstract(cls):
            raise TypeError(f"{cls.__name__}: a model family lists its tasks")

    @classmethod
    @abstractmethod
    def create(cls, config: Any, tokenizer: MotionTokenizer, corpus: Sequence[str]) -> MotionModel:
        """A new model to train: pretrained language model from `config` or one built from scratch on `corpus`."""

    @abstractmethod
    def adopt(self, config: Any) -> None:
        """Take over the settings of `config` that are not architecture, for a later stage of training."""

    @abstractmethod
    def loss(self, batch: Sequence[Example]) -> dict[str, Tensor]:
        """Named, unweighted loss terms; `monitor/...` values are logged only. Clips may carry ready-made tokens."""

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


class MotionEvaluator(Network):
    """Puts motions and captions into one space, where a motion lies near its caption.

    Subclasses set `representation` (its name), `fps`, `embedding_dim` (E), `min_frames` and `max_frames` (the lengths
    that it takes) and `metric`, the distance that its numbers are made for."""

    kind: ClassVar[str] = "evaluator"
    metric: ClassVar[str] = "euclidean"  # or "cosine"
    representation: str
    fps: float
    embedding_dim: int
    min_frames: int
    max_frames: int

    @classmethod
    @abstractmethod
    def create(cls, config: Any, normalizer: Normalizer, captions: Iterable[Caption]) -> MotionEvaluator:
        """A new evaluator to train. captions: all of the training set, for what is learnt from words alone."""

    def continued(self, config: Any) -> MotionEvaluator:
        """The network that training with `config`, a config of this family, goes on with: itself, or the next stage."""
        return self

    def prepare_text(self, captions: Sequence[Caption], folder: Path | None = None) -> None:
        """Compute once what training needs of captions, and keep it in a folder if one is given. Nothing by default."""

    @property
    def can_embed(self) -> bool:
        """False while only a part that is no embedding has been trained."""
        return True

    @abstractmethod
    def embed_motion(self, features: Tensor, mask: Tensor, mode: Mode = "strict") -> Tensor:
        """Raw features (B, T, D) and mask (B, T), True for the first frames of a row -> embeddings (B, E).

        strict: a row's embedding depends on nothing but its real frames. upstream: with the quirks of the published
        code, where an evaluator has such. `DataError` for another width, NaN, too short or too long motions."""

    @abstractmethod
    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """Captions -> embeddings (B, E); each row depends on its caption alone. `DataError` for an empty caption."""

    @abstractmethod
    def loss(self, batch: EvaluatorBatch) -> dict[str, Tensor]:
        """Named, unweighted loss terms and, under names that start with `monitor/`, values to be logged only."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Short hash of everything that an embedding depends on; equal numbers need equal fingerprints."""
