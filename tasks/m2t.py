"""Motion to text."""

from __future__ import annotations

from mld.data.example import CaptionedClip, Clip, Text
from mld.engine.request import Answer, Request
from mld.metrics.captions import PROTOCOL, CaptionScores
from mld.metrics.results import Score
from mld.motion.representations.base import Representation
from tasks.base import NO_EVALUATOR, Scores, Setting, Task
from tasks.lines import prompt_of, read_line, the_motion


class MotionToText(Task):
    """`path.npy`, `question#path.npy`, prompts with placeholders."""

    name = "m2t"
    protocol = PROTOCOL

    def request(self, clip: CaptionedClip, representation: Representation, seed: int) -> Request:
        return Request((Clip(features=clip.features),), "text", seed=seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting)
        prompt = prompt_of(read, setting, read.frames(setting, bare="f"))
        if prompt is None:
            question = (Text(read.text.rstrip() + " ", verbatim=True),) if read.text else ()
            prompt = (*question, the_motion(read, setting))
        name = read.motions[0].stem if read.motions else read.text
        return Request(prompt, "text", seed=setting.seed, name=name)

    def scores(self, representation: Representation) -> Scores:
        return _Captions()


class _Captions(Scores):
    """Exact matches, BLEU, ROUGE-L, CIDEr and the share of different captions, times 100."""

    def __init__(self) -> None:
        self.metric = CaptionScores()

    def update(self, clip: CaptionedClip, answer: Answer) -> None:
        self.metric.update([answer.text], [clip.captions], tokens=[clip.caption_tokens])

    def compute(self) -> dict[str, Score]:
        missing = {name: Score(None, reason=NO_EVALUATOR) for name in ("R_precision_top_3", "Matching_score")}
        return self.metric.scores() | missing


TASK = MotionToText()
