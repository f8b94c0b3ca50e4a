"""Streaming: a motion made while words change. How lines are written is in `stream_lines.py`.

In evaluation a clip is made as a stream under one of its captions."""

from __future__ import annotations

from collections.abc import Sequence

from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.engine.streaming.script import Script, play
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Text
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.stream_lines import read_timed
from tasks.t2m import TASK as WHOLE


class Streaming(Task):
    """`0s a person walks | 4s they turn left | 8s they sit down`, see `stream_lines.py`."""

    name = "stream"
    shape = Shape("motion")
    protocol = "stream/one-text"
    compares = ("matching", "distribution")

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        caption = clip.captions[setting.seed % len(clip.captions)]
        return script(((0, caption),), clip.num_frames, setting.seed, clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        said, seconds = read_timed(line, setting.seconds)
        frames = [(round(second * setting.fps), words) for second, words in said]
        length = max(round(seconds * setting.fps), frames[-1][0] + 1)
        return script(tuple(frames), length, setting.seed, " ".join(line.split()))

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return WHOLE.scores(representation, options)

    def check(self, engine: Pipeline, request: Request) -> None:
        for one in request.texts():
            engine.check(one)

    def answers(
        self, engine: Pipeline, requests: Sequence[Request], batch_size: int, progress: bool = False
    ) -> list[Answer]:
        """Served in batches, on the body of the model."""
        from tqdm import tqdm

        for request in requests:
            self.check(engine, request)
        made: list[Answer] = []
        with tqdm(total=len(requests), unit="stream", disable=not progress) as bar:
            for first in range(0, len(requests), batch_size):
                made += play(engine.batcher, requests[first : first + batch_size], bar.update)
        return [engine.embodied(answer) for answer in made]


def script(said: tuple[tuple[int, str], ...], num_frames: int, seed: int, name: str) -> Script:
    """A stream as a request: words by frame, and the length."""
    text = name if len(said) > 1 else said[0][1]
    return Script((Text(text),), "motion", num_frames, seed, name, said)


TASK = Streaming()
