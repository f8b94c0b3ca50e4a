"""Generated motions cleaned up for people who look at them: `demo` and the page do so, evaluation never does.

A clean-up that takes a motion elsewhere is not wanted: where holding its feet moves joints by more than `FURTHEST` on
average, they are not held. Given frames stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from mld.engine.body import given_frames
from mld.engine.request import Answer
from mld.errors import DataError
from mld.models.contracts.tokens import TokenLayout
from mld.motion.cleanup.cleanup import STEPS, CleanUpReport, clean
from mld.motion.motion import Motion

FURTHEST = 0.1  # metres, mean over frames and joints


def cleaned(answer: Answer, layout: TokenLayout) -> tuple[Motion, CleanUpReport | None, str]:
    """The motion of an answer cleaned up, the report, and why there is none: a motion with NaN stays as it is."""
    motion = answer.motion
    assert motion is not None
    kept = given_frames(answer, layout)
    try:
        result = clean(motion, STEPS, keep=kept)
        if "feet" in result[1].steps and result[1].moved > FURTHEST:
            result = clean(motion, tuple(step for step in STEPS if step != "feet"), keep=kept)
    except DataError as error:
        return motion, None, f"not cleaned up: {error}"
    return *result, ""


def summary(reports: Sequence[CleanUpReport]) -> str:
    """What clean-ups changed, in one line: means over the motions; "" of none."""
    if not reports:
        return ""
    pairs = [(report.before, report.after) for report in reports]
    moved = [report.moved for report in reports]
    who = "cleaned up" if len(reports) == 1 else f"{len(reports)} motions cleaned up (means)"
    if max(moved) == 0:
        return f"{who}: nothing had to be changed"
    slides = [(one.sliding, two.sliding) for one, two in pairs if one.sliding is not None and two.sliding is not None]
    found = [
        ("feet slide {:.3f} -> {:.3f} m/s", slides),
        ("jerk {:.0f} -> {:.0f} m/s^3", [(one.jerk, two.jerk) for one, two in pairs]),
        ("{:.1f} -> {:.1f} cm below the floor", [(100 * one.penetration, 100 * two.penetration) for one, two in pairs]),
    ]
    words = [text.format(*map(fmean, zip(*values))) for text, values in found if values]
    return f"{who}: {', '.join(words)}; joints moved by {100 * fmean(moved):.1f} cm"
