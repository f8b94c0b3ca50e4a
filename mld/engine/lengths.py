"""Lengths that texts tell in words, for models that ask for it (`MotionGenerator.reads_lengths`).

Captions of training seldom hold lengths, so such words alone change little. Who writes "for four seconds" expects
four. So where the words are clear, the length is theirs, as if it were asked for; the words themselves stay in the
text."""

from __future__ import annotations

from dataclasses import replace

from mld.durations import told
from mld.engine.checks import frames_in, readable
from mld.engine.request import Request
from mld.example import Text, said
from mld.models.contracts.generator import MotionGenerator

SWITCH = "length_words=false lets the model decide"


def told_frames(request: Request, model: MotionGenerator, fps: float) -> int | None:
    """The frames that the text of a request tells, where nothing else tells how long its motion is."""
    if request.output != "motion" or request.num_frames is not None or not model.reads_lengths:
        return None
    if not request.prompt or not all(isinstance(part, Text) for part in request.prompt) or not readable(request.prompt):
        return None
    seconds = told(said(request.prompt))
    return None if seconds is None else frames_in(seconds, fps)


def timed(request: Request, model: MotionGenerator, fps: float, most: int) -> Request:
    """The request with the length that its text tells. most: frames of the longest motion, 0 for any; of a longer one
    the model decides."""
    frames = told_frames(request, model, fps)
    return request if frames is None or 0 < most < frames else replace(request, num_frames=frames)


def length_note(request: Request, model: MotionGenerator, fps: float, most: int) -> str:
    """What was done about the length in the text, empty where there is none."""
    frames = told_frames(request, model, fps)
    if frames is None:
        return ""
    if 0 < most < frames:
        return f"the text says {frames / fps:.4g} seconds, the model makes at most {most / fps:.1f} at once; it decided"
    return f"{frames / fps:.4g} seconds long, as the text says; {SWITCH}"
