"""Prompts in the wording of the fixed tasks, quotes around captions, lengths that a text names (MotionGPT spec 3.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from mld.example import Clip, Segment, Text, said

NAMED_FRAMES = re.compile(r"\b(\d+)[ -]frames?\b", re.IGNORECASE)
NAMED_SECONDS = re.compile(r"\b(\d+(?:\.\d+)?)[ -]?sec(?:ond)?s?\b", re.IGNORECASE)
PLACEHOLDER = "<Motion_Placeholder>"
SEPARATOR = " \n "  # between prompt and answer of a decoder-only model


def fixed_prompt(prompt: Sequence[Segment], output: str, frames: int | None) -> list[Segment]:
    """Put captions and clips into the wording of the fixed tasks; prompts with verbatim text stay as they are.

    output: "motion" or "text". frames: wanted length to be named when a motion is made from text alone, None to leave
    it open; there is no wording with a length for the other tasks."""
    if any(isinstance(part, Text) and part.verbatim for part in prompt):
        return list(prompt)
    clips = sum(isinstance(part, Clip) for part in prompt)
    if not clips and output == "text":
        return list(prompt)
    task = "Generate text" if output == "text" else ("Generate", "Predict", "Complete the masked")[min(clips, 2)]
    noun = "" if output == "text" else " motion"
    length = "" if frames is None or clips else f" with {frames} frames"
    spaced: list[Segment] = [Text(f"{task}{noun}{length}: ")]
    for part in prompt:
        glue = isinstance(part, Clip) and isinstance(spaced[-1], Text) and len(spaced) > 1
        spaced += [Text(" "), part] if glue else [part]
    return spaced


def told(prompt: Sequence[Segment], output: str, caption: str = "") -> str:
    """What a text encoder reads of a prompt: its caption, where that is known, else its captions; where all is
    instruction, that, and where clips stand alone, the wording of their task, as templates of training have it."""
    captions = [part for part in prompt if isinstance(part, Text) and not part.verbatim]
    words = caption or said(captions) or said(prompt)
    asked = any(isinstance(part, Clip) for part in prompt)
    return words or (said(fixed_prompt(prompt, output, None)) if asked else "")


def without_words(prompt: Sequence[Segment], caption: str = "") -> list[Segment]:
    """A prompt that says nothing: `caption` is taken out of instructions; without one, nothing of them stays, and what
    is left is worded as the fixed tasks are. Captions are empty."""
    found: list[Segment] = []
    for part in prompt:
        if isinstance(part, Text):
            kept = part.verbatim and bool(caption)
            part = Text(part.text.replace(caption, ""), True) if kept else Text("")
        found.append(part)
    return found


def merged(parts: Sequence[Segment]) -> list[str | Clip]:
    """Neighbouring texts as one string each, clips as they are."""
    found: list[str | Clip] = []
    for part in parts:
        if isinstance(part, Text):
            text = found.pop() if found and isinstance(found[-1], str) else ""
            found.append(text + part.text)
        else:
            found.append(part)
    return found


def chance(probability: float) -> bool:
    """True with that probability; no number is drawn for 0."""
    return probability > 0 and bool(torch.rand(()) < probability)


def quoted(parts: Sequence[Segment], probability: float, again: bool = True) -> list[Segment]:
    """Captions in double quotes, all or none of them. again: those that hold a double quote, too."""
    if not chance(probability):
        return list(parts)

    def bare(part: Segment) -> bool:
        return isinstance(part, Text) and not part.verbatim and bool(part.text) and (again or '"' not in part.text)

    return [Text(f'"{part.text}"') if bare(part) else part for part in parts]


def unquoted(text: str) -> str:
    """A text without blanks and double quotes around the whole of it."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] == '"' else text


def named_frames(text: str, fps: float) -> int | None:
    """The length that a text names, such as `120 frames` or `6.0 seconds`, in frames; frames count first."""
    if found := NAMED_FRAMES.search(text):
        return max(1, int(found[1]))
    found = NAMED_SECONDS.search(text)
    return None if found is None else max(1, round(float(found[1]) * fps))


_PARTS = (Text("a person"), Clip())
_FORMATTED = [
    fixed_prompt(prompt, output, frames)
    for prompt in (_PARTS[:1], _PARTS[1:], _PARTS, _PARTS[1:] * 2) for output in ("motion", "text")
    for frames in (None, 120)
]  # fmt: skip
WORDINGS = [part.text for formatted in _FORMATTED for part in formatted if isinstance(part, Text)]
