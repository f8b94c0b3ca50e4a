"""In-between: fill the gap between two stretches of motion. In evaluation the first and the last quarter are given,
each encoded by itself."""

from __future__ import annotations

from mld.engine.given import around, ends
from mld.engine.request import Request
from mld.errors import RequestError
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Clip, Text
from mld.models.contracts.generator import Shape
from mld.motion.representations.base import Representation
from tasks.clips import whole
from tasks.lines import Line, ends_of, load_given, prompt_of, read_line, the_motion, without_length


class InBetween(Task):
    """`path.npy` (its first and last quarter are kept), `a.npy#b.npy`, `a.npy#b.npy#8` (wanted length of the whole in
    seconds), `path.npy#2s-4s` (what lies there is made anew), each with `text#` in front if wanted, prompts with
    placeholders (`<Motion_Placeholder_Masked>`)."""

    name = "inbetween"
    shape = Shape("motion", 2)
    protocol = "inbetween/25%-given-at-each-end/separate-encoding"

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        ends = ends_of(whole(clip, setting.representation), setting.unit, setting.published)
        return Request(ends, "motion", num_frames=clip.num_frames, seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting, spans=True)
        frames = read.frames(setting, bare="s")
        name = "-".join(path.stem for path in read.motions)
        prompt, words = prompt_of(read, setting, frames), (Text(read.text),) if read.text else ()
        if prompt is None and read.span is not None:
            edited = the_motion(without_length(read), setting)
            start, stop = read.span if read.unit == "s" else (place / setting.fps for place in read.span)
            parts, note = around(edited, start, stop, setting.fps)
            notes = (note,) if note else ()
            return Request((*words, *parts), "motion", len(edited.features), setting.seed, name, notes=notes)
        if prompt is None:
            prompt = (*words, *self._ends(read, setting, frames))
        last = next((segment for segment in reversed(prompt) if isinstance(segment, Clip)), None)
        total = None if last is None else last.start + len(last.features)
        return Request(prompt, "motion", num_frames=total, seed=setting.seed, name=name)

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        from tasks.completion import CompletionScores

        return CompletionScores("inbetween", representation)

    def _ends(self, read: Line, setting: Setting, frames: int | None) -> tuple[Clip, ...]:
        if len(read.motions) < 2:
            return ends_of(the_motion(without_length(read), setting), setting.unit)
        if len(read.motions) > 2:
            raise RequestError(f"one or two motion files are needed in the line, found {len(read.motions)}")
        head, tail = (load_given(path, setting) for path in read.motions)
        return ends(head, tail, frames, setting.fps)


TASK = InBetween()
