"""Motion to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mld.engine.request import Answer, Request
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Clip, Text
from mld.metrics.captions import PROTOCOLS, BertScorer, CaptionScores, installed_lemmatiser, lemmatiser_name
from mld.metrics.results import Score
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.lines import prompt_of, read_line, the_motion, without_length

if TYPE_CHECKING:
    from mld.engine.pipeline import Pipeline


class MotionToText(Task):
    """`path.npy`, `question#path.npy`, prompts with placeholders."""

    name = "m2t"
    shape = Shape("text", 1)
    protocol = "m2t/3-references"
    compares = ("matching",)

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        return Request((Clip(features=clip.features),), "text", seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting)
        prompt = prompt_of(read, setting, read.frames(setting, bare="f"))
        if prompt is None:
            question = (Text(read.text.rstrip() + " ", verbatim=True),) if read.text else ()
            prompt = (*question, the_motion(without_length(read), setting))
        name = read.motions[0].stem if read.motions else read.text
        return Request(prompt, "text", seed=setting.seed, name=name)

    def check(self, engine: Pipeline, request: Request) -> None:
        engine.check(_windows(engine, request)[0][1])

    def answers(
        self, engine: Pipeline, requests: Sequence[Request], batch_size: int, progress: bool = False
    ) -> list[Answer]:
        """Motions longer than the model reads are described part by part: one answer, each part with its seconds."""
        parts = [_windows(engine, request) for request in requests]
        made = iter(engine.run([part for windows in parts for _, part in windows], batch_size, progress))
        answers = []
        for request, windows in zip(requests, parts):
            found = [next(made) for _ in windows]
            if len(found) == 1:
                answers.append(found[0])
                continue
            text = " ".join(f"[{span}] {answer.text.strip()}" for (span, _), answer in zip(windows, found))
            note = f"the motion is longer than the model reads; it was described in {len(found)} parts"
            answers.append(replace(found[0], request=request, text=text, notes=(*found[0].notes, note),
                                   complete=all(answer.complete for answer in found)))  # fmt: skip
        return answers

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return _Captions(options)


class _Captions(Scores):
    """Caption scores in all conventions, times 100; those of the first one have plain names."""

    def __init__(self, options: ScoreOptions) -> None:
        bert = BertScorer(options.bert) if options.bert else None
        self.metric = CaptionScores(PROTOCOLS, bert, installed_lemmatiser())

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        ids = None if number is None else [number]
        self.metric.update([answer.text], [clip.captions], ids, [clip.caption_tokens])

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        """The scores; each says which backend and lemmatiser made it."""
        found = self.metric.scores(draws, seed)
        made = f"captions scored by {self.metric.backend}; lemmatiser: {lemmatiser_name()}"
        return {name: replace(score, note=score.note or made) for name, score in found.items()}


def _windows(engine: Pipeline, request: Request) -> list[tuple[str, Request]]:
    """The request for every part of its motion that the model can read, with the seconds of the part; parts are equal
    to a frame."""
    clips = [clip for clip in request.prompt if isinstance(clip, Clip)]
    longest = engine.model.tokenizer.layout.longest
    frames = len(clips[0].features) if len(clips) == 1 and clips[0].features is not None else 0
    count = -(-frames // longest) if longest > 0 else 1
    if count <= 1 or clips[0].tokens is not None:
        return [("", request)]
    cuts = [round(frames * number / count) for number in range(count + 1)]
    fps = engine.representation.fps
    return [
        (f"{start / fps:.1f}-{stop / fps:.1f} s",
         replace(request, prompt=tuple(Clip(features=clip.features[start:stop]) if isinstance(clip, Clip) else clip
                                       for clip in request.prompt)))
        for start, stop in zip(cuts, cuts[1:])
    ]  # fmt: skip


TASK = MotionToText()
