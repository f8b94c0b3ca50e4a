"""A frozen text encoder gives features of sentences. It is a part of a network, but no module of it.

So it is never in weights, moving averages or optimizers. The network's description holds where it came from and its
identity, a hash by which it is recognised; it is opened when a text is first encoded, and not at all where all features
are cached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mld.errors import ConfigError


class TextFeatures(NamedTuple):
    """tokens (S, Z): last hidden states, start and end tokens included. sentence (Z',): one vector for the text."""

    tokens: Tensor
    sentence: Tensor


def token_features(encoder: TextEncoder, texts: Sequence[str], device: torch.device | str) -> list[Tensor]:
    """Token features (S, Z) of each text, S from 1 on, float32, on the CPU. `ConfigError` where only sentences are
    kept."""
    found = [features.tokens for features in encoder.encode(texts, device)]
    if any(not len(tokens) for tokens in found):
        raise ConfigError(
            "text_encoder.cached_tokens=none keeps sentences alone, but this network reads features of tokens; take"
            " float32 or float16"
        )
    return found


def check_told(word_dropout: float, encoder: TextEncoder | None) -> None:
    """`ConfigError` for words that are dropped in training where no features tell them."""
    if word_dropout and encoder is None:
        raise ConfigError(
            f"word_dropout is {word_dropout}, but without a text encoder nothing tells dropped words; set"
            " text_encoder.source for a new model, or leave word_dropout out"
        )


class TextEncoder(ABC):
    """source: a folder, a hub id or a name ("minilm", "packed_minilm"): where it is read from when it is opened."""

    kind: ClassVar[str] = "text_encoder"
    family: ClassVar[str] = ""
    source: str

    @property
    def letters(self) -> frozenset[str] | None:
        """Those of the languages that it reads; none where these are any, or not known."""
        return None

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.family = family or cls.family

    def __deepcopy__(self, memo: dict) -> TextEncoder:
        """Itself: copies of a network share what is frozen."""
        return self

    @classmethod
    @abstractmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder: Path | None = None) -> TextEncoder:
        """What `describe` described, not opened. folder: the model folder, which may hold the encoder itself.

        `CheckpointError` names `where` when something is not described."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Z: width of token features."""

    @property
    @abstractmethod
    def sentence_width(self) -> int:
        """Z': width of sentence features."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Hash of weights and vocabulary: equal features need equal identities."""

    @abstractmethod
    def encode(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        """Features of each text, float32, on the CPU. They do not depend on the other texts."""

    def keep_in(self, folder: str | Path, tokens: str = "float32") -> None:  # noqa: B027  (not all have a cache)
        """Keep features on disk, in a sub-folder for this encoder. tokens: "float32", "float16" or "none"."""

    def prepare(self, texts: Sequence[str], device: torch.device | str = "cpu") -> None:  # noqa: B027
        """Compute once what is not known of many texts."""

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts whose features are not kept, each once."""
        return list(dict.fromkeys(texts))

    def encode_as_needed(self) -> None:  # noqa: B027
        """Keep no more features on disk: those of a batch are computed when it comes, where they are not there."""

    def release(self) -> None:  # noqa: B027  (not all hold weights)
        """Let go of its weights. They are read again for a text whose features are not known."""

    def stay_on(self, device: str | None) -> None:  # noqa: B027
        """From now on it runs on this device, whatever `encode` is told; none: where it is told to."""

    def describe(self) -> dict[str, Any]:
        """What finds it again, in plain values; the widths, so that a network can be built without opening it."""
        return {
            "kind": self.kind, "family": self.family, "source": self.source, "identity": self.identity,
            "width": self.width, "sentence_width": self.sentence_width,
        }  # fmt: skip
