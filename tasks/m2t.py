"""Motion to text."""

from __future__ import annotations

from dataclasses import replace

from mld.engine.request import Answer, Request
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Clip, Text
from mld.metrics.results import Score
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.lines import prompt_of, read_line, the_motion, without_length


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

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return _Captions(representation, options)


class _Captions(Scores):
    """Caption scores in all conventions, times 100; those of the first one have plain names. Whether the captions say
    the right actions and sides, where the body has the joints on which those are measured."""

    def __init__(self, representation: Representation, options: ScoreOptions) -> None:
        from mld.metrics.captions import PROTOCOLS, BertScorer, CaptionScores, installed_lemmatiser
        from mld.metrics.captions.claims import JOINTS, ClaimScores

        self.representation = representation
        self.claims = ClaimScores() if representation.skeleton.num_joints == JOINTS else None
        bert = BertScorer(options.bert) if options.bert else None
        self.metric = CaptionScores(PROTOCOLS, bert, installed_lemmatiser())

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        ids = None if number is None else [number]
        self.metric.update([answer.text], [clip.captions], ids, [clip.caption_tokens])
        if self.claims is not None:
            motion = self.representation.decode(clip.features)
            self.claims.update(answer.text, clip.captions, motion.joints, motion.fps, ids)

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        """The scores; each says which backend and lemmatiser made it."""
        from mld.metrics.captions import lemmatiser_name

        found = self.metric.scores(draws, seed)
        made = f"captions scored by {self.metric.backend}; lemmatiser: {lemmatiser_name()}"
        found = {name: replace(score, note=score.note or made) for name, score in found.items()}
        if self.claims is not None:
            found |= self.claims.scores(draws, seed)
        return found


TASK = MotionToText()
