"""Motions of a model for the prompts of a suite, kept as files that other evaluators read as well: `<id>.npy`, joints
(T, 22, 3), metres, y up, 20 fps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.errors import DataError, MldError, RequestError
from mld.evaluation.suites.settings import FPS, JOINTS
from mld.example import Text
from mld.models.contracts.generator import Shape
from mld.motion.edit import check_finite, resample


@dataclass(frozen=True)
class Asked:
    """A motion that is wanted. id: of its file, without the suffix; may name a folder. text: what the model is told.
    seconds: None, the model decides."""

    id: str
    text: str
    seconds: float | None


Told = Callable[[Asked, str], None]


class Maker:
    """pipeline: bones "clip", so that joints are as the network has them. folder: of the files. suite: its name, for
    messages."""

    def __init__(self, pipeline: Pipeline, folder: Path, suite: str, seed: int, batch_size: int) -> None:
        if Shape("motion") not in pipeline.model.answers:
            raise RequestError(f"this model makes no motion from text alone; {suite} needs one that does")
        if pipeline.representation.skeleton.num_joints != JOINTS:
            raise RequestError(f"this model moves {pipeline.representation.skeleton.num_joints} joints; {suite} scores "
                               f"the {JOINTS} of SMPL")  # fmt: skip
        self.pipeline, self.folder, self.seed, self.batch_size = pipeline, folder, seed, batch_size

    def place(self, asked: Asked) -> Path:
        return self.folder / f"{asked.id}.npy"

    def make(self, wanted: Sequence[Asked], told: Told) -> None:
        """Write what is missing. told: of every motion, with why there is none, or "" where there is."""
        missing = [asked for asked in wanted if not self.place(asked).is_file()]
        missing.sort(key=lambda asked: asked.seconds or 0.0)  # of one length, no padding
        for start in range(0, len(missing), self.batch_size):
            for asked, answer in self._answers(missing[start : start + self.batch_size]):
                told(asked, str(answer) if isinstance(answer, MldError) else self._write(asked, answer))

    def request(self, asked: Asked) -> Request:
        """What the model is asked: the length that is wanted, or the longest that it makes at once; a seed of its own
        for every motion."""
        frames = None
        if asked.seconds is not None:
            frames = self.pipeline.frames(asked.seconds)
            if most := self.pipeline.most_frames:
                frames = min(frames, most)
        seed = zlib.crc32(f"{self.seed}/{asked.id}".encode())
        return Request((Text(asked.text),), "motion", frames, seed, f"prompt {asked.id}")

    def _answers(self, batch: Sequence[Asked]) -> Iterator[tuple[Asked, Answer | MldError]]:
        """Prompts with their answers; where one of them spoils the batch, each is asked alone."""
        try:
            requests = [self.request(asked) for asked in batch]
            yield from zip(batch, self.pipeline.run(requests, batch_size=len(batch)), strict=True)
        except MldError as error:
            if len(batch) == 1:
                yield batch[0], error
            else:
                for asked in batch:
                    yield from self._answers([asked])

    def _write(self, asked: Asked, answer: Answer) -> str:
        try:
            if answer.motion is None:
                raise DataError("no motion was made")
            resample(check_finite(answer.motion), FPS).save(self.place(asked))
        except DataError as error:
            return str(error)
        return ""
