"""What a task is: a way to turn a captioned clip or a line of text into a request, and a way to score the answers.

`Task` holds no state. `Scores` collects one pass over a split. Both work on whole motions in metres, so they hold for
every model and every representation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from mld.engine.request import Answer, Request
from mld.example import CaptionedClip
from mld.metrics.results import Score
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation

if TYPE_CHECKING:
    from mld.engine.pipeline import Pipeline
    from mld.engine.streaming.script import Performance, Script


@dataclass(frozen=True)
class Setting:
    """What a request is made with. unit: parts of a clip end at multiples of so many frames, the model's. folder:
    relative paths start there, or in the working directory. seconds: wanted length where a line does not say.
    published: parts of clips are cut as in the published tests."""

    representation: Representation
    unit: int
    folder: Path = Path()
    seconds: float | None = None
    seed: int = 0
    published: bool = False

    @property
    def fps(self) -> float:
        return self.representation.fps


class Scores(ABC):
    """Collects the answers of one pass over a split and gives named scores."""

    @abstractmethod
    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        """Count the answer to the request that was made of `clip`. number: of the clip in the split; needed when
        several processes share a pass."""

    @abstractmethod
    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        """Metric name -> value with unit and number of clips, or a reason why there is none. draws: bootstrap samples
        for 95 % intervals over clips, 0 for none."""


@dataclass(frozen=True)
class ScoreOptions:
    """bert: folder of the BERTScore model, None leaves BERTScore out."""

    bert: Path | None = None


PLAIN = ScoreOptions()


class Task(ABC):
    """name: as on the command line. shape: of its requests; None where no generator is asked. protocol: what the
    numbers of `scores` mean, written into the results. compares: what an evaluator network adds: "matching" of texts
    and motions, "distribution" of motions, "multimodality"; empty where no motion is involved. goes_on: of a clip that
    follows a given motion, a model is asked to go on from that motion; otherwise it is told nothing of it. as_it_is:
    its motions show what a network makes, and are not cleaned up unless that is asked for."""

    name: ClassVar[str]
    shape: ClassVar[Shape | None] = None
    protocol: ClassVar[str]
    compares: ClassVar[tuple[str, ...]] = ("distribution",)
    goes_on: ClassVar[bool] = False
    as_it_is: ClassVar[bool] = False

    @abstractmethod
    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        """What a model is asked about `clip` in an evaluation."""

    @abstractmethod
    def parse(self, line: str, setting: Setting) -> Request:
        """The request that a user wrote in one line. Raises `MldError` with what is wrong with it."""

    @abstractmethod
    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        """An empty collection of scores."""

    def serves(self, engine: Any) -> bool:
        """Whether a pipeline, or a motion tokenizer alone, can be asked such things."""
        return self.shape is None or self.shape in (engine.model.answers if hasattr(engine, "model") else ())

    def among_all(self, engine: Any) -> bool:
        """Whether it is meant where all tasks are asked for."""
        return self.serves(engine)

    def check(self, engine: Pipeline, request: Request) -> None:
        """`RequestError` when the request cannot be served; quick, nothing is encoded."""
        engine.check(request)

    def answers(
        self, engine: Pipeline, requests: Sequence[Request], batch_size: int, progress: bool = False
    ) -> list[Answer]:
        """Serve the requests, in order."""
        return engine.run(list(requests), batch_size=batch_size, progress=progress)


@dataclass(frozen=True, eq=False)
class Change:
    """Windows of joints (T, J, 3) in metres: around a change of words, the one before it where words hold, and one of
    real motion."""

    around: Tensor
    inside: Tensor
    real: Tensor


class SequenceScores(Scores):
    """Scores of motions that are told one thing after the other; `update` takes the part of each clip."""

    @abstractmethod
    def change(self, number: int, change: Change) -> None:
        """Count the change of words before the part of clip `number`."""


class SequenceTask(Task):
    """A task about motions that are told one thing after the other. together: so many clips of a split make one, where
    they are no pairs already."""

    together: ClassVar[int] = 2

    @abstractmethod
    def sequence(self, clips: Sequence[CaptionedClip], given: Tensor | None, setting: Setting) -> Script:
        """What a model is asked: the captions of clips in order, each for as long as its clip, behind a given motion
        (T, D), raw features, if there is one."""

    @abstractmethod
    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> SequenceScores: ...

    @abstractmethod
    def perform(self, engine: Pipeline, scripts: Sequence[Script], batch_size: int) -> list[Performance]:
        """Serve the requests, in order."""
