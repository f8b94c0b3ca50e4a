"""An evaluator puts motions and captions into one space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from mld.example import Caption, EvaluatorBatch
from mld.models.contracts.network import Network

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

Mode = Literal["strict", "upstream"]


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
    def loss(self, batch: EvaluatorBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Named, unweighted loss terms and, under names that start with `monitor/`, values to be logged only.

        progress: how far training is, 0 to 1."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Short hash of everything that an embedding depends on; equal numbers need equal fingerprints."""
