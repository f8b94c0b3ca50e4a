"""Motions of a model for the prompts of a suite, kept as files that the published evaluator reads as well: `<id>.npy`,
joints (T, 22, 3), metres, y up, 20 fps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.errors import DataError, MldError, RequestError
from mld.evaluation.suites.mbench.prompts import FPS, Prompt
from mld.evaluation.suites.mbench.reading import JOINTS
from mld.example import Text
from mld.models.contracts.generator import Shape
from mld.motion.edit import check_finite, resample

Told = Callable[[Prompt, str], None]


class Maker:
    """pipeline: bones "clip", so that joints are as the network has them. folder: of the files. kind: which text of a
    prompt the model is told."""

    def __init__(self, pipeline: Pipeline, folder: Path, kind: str, seed: int, batch_size: int) -> None:
        if Shape("motion") not in pipeline.model.answers:
            raise RequestError("this model makes no motion from text alone; MBench needs one that does")
        if pipeline.representation.skeleton.num_joints != JOINTS:
            raise RequestError(f"this model moves {pipeline.representation.skeleton.num_joints} joints; MBench scores "
                               f"the {JOINTS} of SMPL")  # fmt: skip
        self.pipeline, self.folder, self.kind, self.seed, self.batch_size = pipeline, folder, kind, seed, batch_size

    def place(self, prompt: Prompt) -> Path:
        return self.folder / f"{prompt.id}.npy"

    def missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [prompt for prompt in prompts if not self.place(prompt).is_file()]

    def make(self, prompts: Sequence[Prompt], told: Told) -> None:
        """Write what is missing. told: of every prompt, with why there is no motion, or "" where there is."""
        wanted = sorted(self.missing(prompts), key=lambda prompt: prompt.seconds)  # of one length, no padding
        for start in range(0, len(wanted), self.batch_size):
            for prompt, answer in self._answers(wanted[start : start + self.batch_size]):
                told(prompt, str(answer) if isinstance(answer, MldError) else self._write(prompt, answer))

    def request(self, prompt: Prompt) -> Request:
        """What the model is asked: the length of the prompt, or the longest that it makes at once; a seed of its own
        for every prompt."""
        frames = self.pipeline.frames(prompt.seconds)
        if most := self.pipeline.most_frames:
            frames = min(frames, most)
        seed = zlib.crc32(f"{self.seed}/{prompt.id}".encode())
        return Request((Text(prompt.text(self.kind)),), "motion", frames, seed, f"prompt {prompt.id}")

    def _answers(self, batch: Sequence[Prompt]) -> Iterator[tuple[Prompt, Answer | MldError]]:
        """Prompts with their answers; where one of them spoils the batch, each is asked alone."""
        try:
            requests = [self.request(prompt) for prompt in batch]
            yield from zip(batch, self.pipeline.run(requests, batch_size=len(batch)), strict=True)
        except MldError as error:
            if len(batch) == 1:
                yield batch[0], error
            else:
                for prompt in batch:
                    yield from self._answers([prompt])

    def _write(self, prompt: Prompt, answer: Answer) -> str:
        try:
            if answer.motion is None:
                raise DataError("no motion was made")
            resample(check_finite(answer.motion), FPS).save(self.place(prompt))
        except DataError as error:
            return str(error)
        return ""
