"""Which reference motions are good enough to be used (spec vimogen, 8.3): smooth ones that show what their text says.

`use_ref_motion = jitter < threshold and matches`, as published. Without a judge the jitter decides alone, which the
report says. What cannot be read is not used. Where a judge fails, nothing is decided: another run asks again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mld.errors import MldError, one_line, shown
from mld.evaluation.judge.answers import verdict
from mld.evaluation.judge.contract import Judge
from mld.evaluation.judge.frames import frame_rate, pictures, subject
from mld.evaluation.judge.recorded import ask_about
from mld.evaluation.judge.references import Reference
from mld.metrics.mbench import motion_quality

THRESHOLD = 0.04  # metres per frame squared, of `Jitter_Degree`
JITTER = "Jitter_Degree"
QUESTION = (
    "They show a motion of a person, drawn as a figure of sticks that one camera sees from the same place. Look at "
    "what the body does from the first picture to the last. Then hold it against this description: \"{text}\". What "
    "counts is whether the body does what the description means; how well it is drawn, how smooth or how lifelike it "
    'is does not count. Answer with JSON and nothing else: {{"analysis": "<what the body does, and why that is or is '
    'not what is described, in one sentence>", "matches": <true or false>}}'
)


@dataclass(frozen=True)
class Record:
    """What was found of one entry. The fields up to final_quality have the published names; final_quality is what is
    written as `use_ref_motion`, None where the entry is left as it is. by: what decided. error: why it failed."""

    global_id: Any
    motion_metrics: Mapping[str, float | None] = field(default_factory=dict)
    vlm_analysis: str = ""
    vlm_raw: str = ""
    vlm_matches: bool | None = None
    final_quality: bool | None = None
    by: str = ""
    motion_path: str = ""
    prompt: str = ""
    frames: int = 0
    file_hash: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"notes": list(self.notes)}


def use_reference(jitter: float, threshold: float, matches: bool | None) -> bool:
    """The published rule. A jitter that is no number counts as infinite, a judge that says nothing as no."""
    return bool(jitter < threshold) and bool(matches)


class Gate:
    """judge: None decides by jitter alone. May be used in several threads."""

    def __init__(self, threshold: float = THRESHOLD, judge: Judge | None = None) -> None:
        self.threshold, self.judge = threshold, judge
        self.rule = f"{JITTER} < {threshold:g} " + ("and the judge says it matches" if judge else "alone, no judge")

    def decide(self, about: Record, reference: Reference) -> Record:
        """The record of an entry, whose prompt and name are in `about`, with this reference motion."""
        motion, notes = reference.motion, list(reference.notes)
        jitter = motion_quality(motion.joints)[JITTER]
        if not math.isfinite(jitter):
            notes.append(f"{motion.num_frames} frames are too few for a jitter, which counts as infinite")
        about = replace(
            about, motion_metrics={JITTER: jitter if math.isfinite(jitter) else None}, frames=motion.num_frames,
            file_hash=reference.file_hash, notes=tuple(notes),
        )  # fmt: skip
        smooth = bool(jitter < self.threshold)
        if self.judge is None or not smooth:  # a judge could not change the latter
            return replace(about, final_quality=smooth, by="jitter")
        if not about.prompt.strip():
            return replace(about, error="no 'prompt' that the judge could be asked about")
        try:
            question = QUESTION.format(text=" ".join(about.prompt.split()))
            answer = ask_about(self.judge, question, subject(motion), lambda: pictures(motion), frame_rate(motion))
        except MldError as error:
            return replace(about, error=str(error))
        analysis, matches = verdict(answer)
        about = replace(about, vlm_analysis=analysis, vlm_raw=answer, vlm_matches=matches)
        if matches is None:
            return replace(about, error=one_line(f"the answer does not say whether it matches ({shown(answer, 100)})"))
        return replace(about, final_quality=use_reference(jitter, self.threshold, matches), by="jitter and judge")
