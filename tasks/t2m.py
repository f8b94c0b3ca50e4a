"""Text to motion. Scores need no reference pose: length, foot skating and jerk, beside those of the real clips."""

from __future__ import annotations

from mld.data.example import CaptionedClip, Text
from mld.engine.request import Answer, Request
from mld.errors import RequestError
from mld.metrics.physical import PhysicalSanity
from mld.metrics.results import Score
from mld.motion.representations.base import Representation
from tasks.base import NO_EVALUATOR, Scores, Setting, Task
from tasks.lines import prompt_of, read_line, the_motion

EVALUATOR_METRICS = (
    "FID", "R_precision_top_1", "R_precision_top_2", "R_precision_top_3", "Matching_score", "Diversity",
    "MultiModality",
)


class TextToMotion(Task):
    """`text`, `text#120` (frames) or `text#6s`, `text#path.npy` (as long as that motion), prompts with placeholders."""

    name = "t2m"
    protocol = "t2m/free-length/physical"

    def request(self, clip: CaptionedClip, representation: Representation, seed: int) -> Request:
        """One caption, chosen by the seed; the model decides the length."""
        caption = clip.captions[seed % len(clip.captions)]
        return Request((Text(caption),), "motion", seed=seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting)
        frames = read.frames(setting, bare="f")
        prompt = prompt_of(read, setting, frames)
        if prompt is None:
            if not read.text:
                raise RequestError("there is no text; describe a motion, for example: a person walks forward")
            if read.motions and frames is None:
                frames = len(the_motion(read, setting).features)
            prompt = (Text(read.text),)
        return Request(prompt, "motion", num_frames=frames, seed=setting.seed, name=read.text)

    def scores(self, representation: Representation) -> Scores:
        return _Physical(representation)


class _Physical(Scores):
    def __init__(self, representation: Representation) -> None:
        self.representation = representation
        self.generated, self.real = (PhysicalSanity(representation.skeleton, representation.fps) for _ in range(2))
        self.length_errors: list[float] = []

    def update(self, clip: CaptionedClip, answer: Answer) -> None:
        self.generated.update([answer.motion.joints])
        self.real.update([self.representation.decode(clip.features).joints])
        self.length_errors.append(abs(answer.motion.num_frames - clip.num_frames) / self.representation.fps)

    def compute(self) -> dict[str, Score]:
        clips = len(self.length_errors)
        found = {"length_error": Score(sum(self.length_errors) / clips, "s", clips)}
        for suffix, sanity in (("", self.generated), ("_real", self.real)):
            found |= {name + suffix: score for name, score in sanity.scores().items()}
        return found | {name: Score(None, reason=NO_EVALUATOR) for name in EVALUATOR_METRICS}


TASK = TextToMotion()
