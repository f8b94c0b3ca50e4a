"""Prediction: go on from the first frames of a motion. In evaluation the first 20 % are given, as published; only these
frames are encoded, so the model does not see the future through the tokenizer."""

from __future__ import annotations

from mld.engine.request import Request
from mld.errors import RequestError
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Text
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.clips import whole
from tasks.lines import head_of, prompt_of, read_line, the_motion


class Prediction(Task):
    """`path.npy` (all of it is given), `path.npy#8` (wanted length of the whole in seconds), `text#path.npy`, prompts
    with placeholders (`<Motion_Placeholder_s1>` gives the first fifth)."""

    name = "pred"
    shape = Shape("motion", 1)
    protocol = "pred/20%-given/head-only-encoding"

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        head = head_of(whole(clip, setting.representation), setting.unit)
        return Request((head,), "motion", num_frames=clip.num_frames, seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting)
        frames = read.frames(setting, bare="s")
        prompt = prompt_of(read, setting, frames)
        if prompt is not None:
            return Request(prompt, "motion", num_frames=frames, seed=setting.seed, name=read.text)
        head = the_motion(read, setting)
        if frames is not None and frames <= len(head.features):
            raise RequestError(
                f"{frames / setting.fps:g} s are wanted and {len(head.features) / setting.fps:g} s are given; "
                "the length is that of the whole motion"
            )
        words = (Text(read.text),) if read.text else ()
        return Request((*words, head), "motion", num_frames=frames, seed=setting.seed, name=read.motions[0].stem)

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        from tasks.completion import CompletionScores

        return CompletionScores("pred", representation)


TASK = Prediction()
