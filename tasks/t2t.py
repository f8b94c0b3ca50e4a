"""Text to text: a question or an instruction, answered in words. In evaluation the model is asked how long a described
motion takes, the one question about motion that has an answer without looking at one."""

from __future__ import annotations

import re

from mld.engine.request import Answer, Request
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Text
from mld.metrics.results import Score
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation

QUESTION = "How many seconds would this take? {}"
LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|secs?|seconds?|frames?)\b", re.IGNORECASE)


class TextToText(Task):
    """The whole line is the text."""

    name = "t2t"
    shape = Shape("text")
    protocol = "t2t/caption-to-seconds"
    compares = ()

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        """One of the clip's captions, chosen by the seed, in a question about its length."""
        question = QUESTION.format(clip.captions[setting.seed % len(clip.captions)])
        return Request((Text(question, verbatim=True),), "text", seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        return Request((Text(line.strip(), verbatim=True),), "text", seed=setting.seed, name=line.strip())

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return _Lengths(representation.fps)


class _Lengths(Scores):
    """How many answers name a length, and by how much that differs from the clip's."""

    def __init__(self, fps: float) -> None:
        from mld.metrics.means import NamedMeans

        self.fps = fps
        self.answered = NamedMeans({"answered": "%"})
        self.errors = NamedMeans({"length_error": "s"})

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        ids = None if number is None else [number]
        found = seconds_in(answer.text, self.fps)
        self.answered.update([100.0 * (found is not None)], ids)
        if found is not None:
            self.errors.update([abs(found - clip.num_frames / self.fps)], ids)

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        return self.answered.scores(draws, seed) | self.errors.scores(draws, seed)


def seconds_in(text: str, fps: float) -> float | None:
    """The first length that a text names, in seconds or in frames; None where there is none."""
    found = LENGTH.search(text)
    if found is None:
        return None
    return float(found[1]) / (fps if found[2].lower().startswith("f") else 1.0)


TASK = TextToText()
