"""From what a user filled in to requests of the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import RequestError, shown
from mld.example import Clip, Segment, Text
from mld.motion.motion import Motion
from mld.serve.page.forms import HIGHEST_SEED, LONGEST_TEXT, LONGEST_WISH, MOST_SAMPLES, Form

PLACE = re.compile(r"<motion(?:_placeholder)?>", re.IGNORECASE)


@dataclass(frozen=True)
class Ask:
    """What was asked, checked. files: one upload for each motion that the task needs, a motion file with those that
    belong to it; empty where nothing was uploaded. seconds None: the model decides. model: as the chooser names it."""

    form: Form
    text: str
    files: tuple[tuple[str, ...], ...]
    seconds: float | None
    seed: int
    samples: int
    model: str


def checked(
    forms: Mapping[str, Form], task: str, text: str | None, files: Sequence[Sequence[str] | None],
    seconds: float | None, seed: float | None, samples: float | None, model: str,
) -> Ask:  # fmt: skip
    """The ask, filled in on one of the forms; `RequestError` for what is missing or out of bounds."""
    form = forms.get(task) if isinstance(task, str) else None
    if form is None:
        raise RequestError(f"there is no task {shown(task)} here")
    if not isinstance(text or "", str) or not isinstance(model, str):
        raise RequestError("A text and the name of a model are words.")
    text = " ".join((text or "").split())
    if len(text) > LONGEST_TEXT:
        raise RequestError(f"That is a long text ({len(text)} characters); up to {LONGEST_TEXT} are read.")
    if form.words == "needed" and not text:
        raise RequestError(f"Please write something first, for example: {form.examples[0]}")
    try:
        seconds, seed, samples = float(seconds or 0), int(seed or 0), int(1 if samples is None else samples)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError("Seconds, samples and seed are numbers.") from error
    if not 0 <= seconds <= LONGEST_WISH:
        raise RequestError(f"A motion may last up to {LONGEST_WISH:g} seconds; 0 lets the model decide.")
    if not 0 <= seed <= HIGHEST_SEED or not 1 <= samples <= MOST_SAMPLES:
        raise RequestError(f"Seeds go from 0 to {HIGHEST_SEED}, and 1 to {MOST_SAMPLES} samples can be made at once.")
    samples = samples if form.makes == "motion" else 1
    if not all(isinstance(upload or [], (list, tuple)) for upload in files) or not all(
        isinstance(file, str) for upload in files for file in upload or ()
    ):
        raise RequestError("An upload is a list of files.")
    uploads = tuple(tuple(upload or ()) for upload in (*files, *[None] * form.clips)[: form.clips])
    return Ask(form, text, uploads, seconds or None, seed, samples, model)


def requests(ask: Ask, motions: Sequence[Motion], pipeline: Pipeline) -> list[Request]:
    """One request per sample, with seeds that count up. motions: those that the task needs, in order. `RequestError`
    for a longer motion than the model makes, in seconds, as it was asked for."""
    most = pipeline.most_seconds
    if ask.form.makes == "motion" and not motions and most and (ask.seconds or 0) > most:
        raise RequestError(f"{ask.seconds:g} seconds are wanted; this model makes at most {most:.1f} seconds at once.")
    frames = pipeline.frames(ask.seconds) if ask.form.makes == "motion" and len(motions) < 2 else None
    if len(motions) == 2:
        clips = pipeline.ends(motions[0], motions[1], ask.seconds)
    else:
        clips = tuple(pipeline.clip(motion) for motion in motions)
    prompt, makes = _prompt(ask, clips), ask.form.makes
    return [Request(prompt, makes, num_frames=frames, seed=ask.seed + sample) for sample in range(ask.samples)]


def _prompt(ask: Ask, clips: Sequence[Clip]) -> tuple[Segment, ...]:
    """Words, then clips; or clips where `<motion>` stands, and the words exactly as they are."""
    verbatim = ask.form.makes == "text"
    pieces = PLACE.split(ask.text)
    if len(pieces) == 1:
        space = " " if clips and verbatim else ""
        return (*([Text(ask.text + space, verbatim=verbatim)] if ask.text else []), *clips)
    if len(pieces) - 1 != len(clips):
        raise RequestError(f"<motion> stands for a motion: it is there {len(pieces) - 1} times, {len(clips)} "
                           "are given.")
    segments: list[Segment] = []
    for piece, clip in zip(pieces, (*clips, None)):
        segments += [Text(piece, verbatim=True)] if piece else []
        segments += [clip] if clip is not None else []
    return tuple(segments)
