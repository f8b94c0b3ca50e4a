"""Text to motion. Scores need no reference pose: length, foot skating and jerk, beside those of the real clips."""

from __future__ import annotations

from mld.engine.request import Answer, Request
from mld.errors import RequestError
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Reference, Text
from mld.metrics.results import Score
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.lines import load_given, prompt_of, read_line, the_motion


class TextToMotion(Task):
    """`text`, `text#120` (frames) or `text#6s`, `text#path.npy` (as long as that motion), prompts with placeholders;
    `ref:path.npy`, with a length or without: a motion that leads, for models that follow one."""

    name = "t2m"
    shape = Shape("motion")
    protocol = "t2m"
    compares = ("matching", "distribution", "multimodality")
    goes_on = True

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        """One of the clip's captions, chosen by the seed; the model decides the length."""
        caption = clip.captions[setting.seed % len(clip.captions)]
        return Request((Text(caption),), "motion", seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting, references=True)
        frames = read.frames(setting, bare="f")
        if read.reference is not None:
            leads = Reference(load_given(read.reference, setting).features)
            words = (Text(read.text),) if read.text else ()
            name = read.text or read.reference.stem
            return Request((*words, leads), "motion", num_frames=frames, seed=setting.seed, name=name)
        prompt = prompt_of(read, setting, frames)
        if prompt is None:
            if not read.text:
                raise RequestError("there is no text; describe a motion, for example: a person walks forward")
            if read.motions and frames is None:
                frames = len(the_motion(read, setting).features)
            prompt = (Text(read.text),)
        return Request(prompt, "motion", num_frames=frames, seed=setting.seed, name=read.text)

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return _Physical(representation)


class _Physical(Scores):
    def __init__(self, representation: Representation) -> None:
        from mld.metrics.means import NamedMeans
        from mld.metrics.physical import PhysicalSanity

        self.representation = representation
        self.generated, self.real = (PhysicalSanity(representation.skeleton, representation.fps) for _ in range(2))
        self.length_errors = NamedMeans({"length_error": "s"})

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        ids = None if number is None else [number]
        self.generated.update([answer.motion.joints], ids)
        self.real.update([self.representation.decode(clip.features).joints], ids)
        self.length_errors.update([abs(answer.motion.num_frames - clip.num_frames) / self.representation.fps], ids)

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        found = self.length_errors.scores(draws, seed)
        for suffix, sanity in (("", self.generated), ("_real", self.real)):
            found |= {name + suffix: score for name, score in sanity.scores(draws, seed).items()}
        return found


TASK = TextToMotion()
