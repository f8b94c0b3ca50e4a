"""Streaming: a motion that is told other words on the way. In evaluation clips of the split follow each other, each
under its caption for as long as it is; sub-sequences are scored like clips, and what lies between them by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.engine.streaming.script import Performance, Script, perform
from mld.errors import RequestError, shown
from mld.evaluation.task import PLAIN, ScoreOptions, SequenceScores, SequenceTask, Setting
from mld.example import CaptionedClip, Clip, Text
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.lines import check_line

LAST_SECONDS = 4.0  # of the last text, where a line does not say when it ends
LONGEST_SECONDS = 3600.0
_PART = re.compile(r"(?:(?P<start>\d{1,9}(?:\.\d{1,9})?)\s*s\b)?\s*(?P<text>.*)", re.DOTALL | re.IGNORECASE)
_RUN_ON = re.compile(r"[,;/]\s*\d+(?:\.\d+)?\s*s\s+\w", re.IGNORECASE)  # 0s they walk, 4s they sit
_ODD_TIME = re.compile(r"[-+.,]?\d[\d.,eE+-]*\s*s\b", re.IGNORECASE)  # -1s, 1e2s, 1,5s


class Streaming(SequenceTask):
    """`0s a person walks | 4s they turn left | 8s they sit down | 12s`: texts and when each begins; the last time is
    the end (4 seconds after the last text, where none is given)."""

    name = "stream"
    shape = Shape("motion")
    protocol = "stream"
    compares = ("matching", "distribution")

    def among_all(self, engine: Pipeline) -> bool:
        """Models of whole motions stream in windows, which has to be asked for by name."""
        return self.serves(engine) and engine.model.streams()

    def request(self, clip: CaptionedClip, setting: Setting) -> Script:
        return self.sequence([clip], None, setting)

    def sequence(self, clips: Sequence[CaptionedClip], given: Tensor | None, setting: Setting) -> Script:
        texts = tuple(Text(clip.captions[setting.seed % len(clip.captions)]) for clip in clips)
        before = () if given is None else (Clip(features=given),)
        lengths = tuple(clip.num_frames for clip in clips)
        name = " + ".join(clip.name for clip in clips)
        return Script((*before, *texts), "motion", sum(lengths), setting.seed, name, lengths)

    def parse(self, line: str, setting: Setting) -> Script:
        parts = [found for part in check_line(line).split("|") if (found := _PART.fullmatch(part.strip()))]
        starts = [float(part["start"] or 0) for part in parts]
        texts = [part["text"].strip() for part in parts]
        for part in parts:
            if not part["start"] and (odd := _ODD_TIME.match(part["text"])):
                raise RequestError(f"{shown(odd[0])} is no time of a script; write seconds as 4s or 4.5s")
            if run_on := _RUN_ON.search(part["text"]):
                raise RequestError(f"{shown(run_on[0][0])} before a time; write | there: 0s they walk | 4s they sit")
        ends = parts[-1]["start"] and not texts[-1]
        if not ends:
            starts.append(max(setting.seconds or 0, starts[-1] + LAST_SECONDS))
        texts = texts[: len(starts) - 1]
        if starts[0] or any(not part["start"] for part in parts[1:]):
            raise RequestError("the first text begins at 0s, and each later one says when: 0s they walk | 4s they sit")
        if not all(texts):
            raise RequestError("a text is empty; only the last time may stand alone, as the end")
        unit = setting.unit  # words change between tokens
        frames = [unit * round(start * setting.fps / unit) for start in starts[:-1]]
        frames.append(round(starts[-1] * setting.fps))
        lengths = tuple(b - a for a, b in zip(frames, frames[1:]))
        if starts[-1] > LONGEST_SECONDS:
            raise RequestError(f"the motion is to last {starts[-1]:g} s; at most {LONGEST_SECONDS:g} s are made")
        if min(lengths) < 1:
            raise RequestError(f"times have to rise, and here are {', '.join(f'{start:g}s' for start in starts)}")
        return Script(tuple(map(Text, texts)), "motion", frames[-1], setting.seed, shown(line, 60), lengths)

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> SequenceScores:
        from tasks.transitions import TransitionScores

        return TransitionScores(representation)

    def check(self, engine: Pipeline, request: Request) -> None:
        for text in request.prompt:
            if isinstance(text, Text):
                engine.check(Request((text,), "motion", seed=request.seed))

    def perform(self, engine: Pipeline, scripts: Sequence[Script], batch_size: int) -> list[Performance]:
        return perform(engine.batcher, scripts, batch_size)

    def answers(
        self, engine: Pipeline, requests: Sequence[Request], batch_size: int, progress: bool = False
    ) -> list[Answer]:
        for request in requests:
            self.check(engine, request)
        with _seconds(requests, engine.representation.fps, progress) as on_step:
            made = perform(engine.batcher, requests, batch_size, on_step)
        return [engine.embodied(answer, keeps_given=False) for answer in made]


@contextmanager
def _seconds(scripts: Sequence[Script], fps: float, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar of the seconds that were made, on a terminal; what it is told after each step."""
    from tqdm import tqdm

    texts, total = sum(len(script.texts) for script in scripts), sum(sum(script.lengths) for script in scripts) / fps
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}{postfix}]"
    with tqdm(total=total, desc="motion", bar_format=form, leave=False, disable=None if shown else True) as bar:

        def on_step(frames: int, begun: int) -> None:
            bar.set_postfix_str(f"text {begun} of {texts}", refresh=False)
            bar.update(min(frames / fps, total) - bar.n)

        yield on_step


TASK = Streaming()
