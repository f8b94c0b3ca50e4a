"""Motion as text: codes <-> strings, prompt placeholders, span corruption (MotionGPT spec 3.3, 3.4, 3.7).

With K codes, `<motion_id_0>` ... `<motion_id_{K-1}>` are codes, K starts a motion, K+1 ends it, K+2 is a hidden code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mld.models.prompts import PLACEHOLDER

MOTION_TOKEN = re.compile(r"<motion_id_(\d+)>")
NOISE_DENSITY, MEAN_SPAN = 0.15, 3
PREDICT_RATIO, INBETWEEN_RATIO = 0.2, 0.25


def token_name(index: int) -> str:
    return f"<motion_id_{index}>"


def motion_token_to_string(tokens: Sequence[int], codebook_size: int, length: int | None = None) -> str:
    """The first `length` codes between a start and an end token, no separators."""
    codes = [int(code) for code in list(tokens)[:length]]
    return "".join(token_name(i) for i in (codebook_size, *codes, codebook_size + 1))


def motion_string_to_token(string: str, codebook_size: int, spaced: bool = True) -> tuple[list[int], str]:
    """The first motion in a string, and the string with that motion replaced by `<Motion_Placeholder>`.

    The codes may include start, end or mask ids; without a complete motion they are `[0]` and the string is unchanged.
    spaced: accept blanks between tokens. The published parser (False) answers `[0]` to those."""
    start, end = token_name(codebook_size), token_name(codebook_size + 1)
    first = string.find(start)
    last = string.find(end)
    if first < 0 or last < first:
        return [0], string
    body = string[first + len(start) : last]
    inside = [int(i) for i in MOTION_TOKEN.findall(body)]
    if not spaced and body != "".join(map(token_name, inside)):
        inside = []
    return inside or [0], string.replace(start + body + end, PLACEHOLDER)


def placeholder_fulfill(
    prompt: str, length: int, motion_string: str, text: str, codebook_size: int, quote: bool = False,
    frames_per_token: int = 4, fps: float = 20.0,
) -> str:
    """Fill the placeholders of a template; an unknown placeholder stays. length: frames of the whole motion.

    quote wraps the text in double quotes (training draws it with probability 0.5). Seconds are whole: `9.0`."""
    tokens = length / frames_per_token
    ids = [int(i) for i in MOTION_TOKEN.findall(motion_string)]
    start, end, mask = codebook_size, codebook_size + 1, codebook_size + 2
    head = int(PREDICT_RATIO * tokens + 1)
    first, last = int(INBETWEEN_RATIO * tokens + 1), int((1 - INBETWEEN_RATIO) * tokens + 1)
    values = {
        "<Caption_Placeholder>": f'"{text}"' if quote else text,
        PLACEHOLDER: motion_string,
        "<Frame_Placeholder>": f"{length}",
        "<Second_Placeholder>": f"{int(length // fps):.1f}",
        "<Motion_Placeholder_s1>": _join([*ids[:head], end]),
        "<Motion_Placeholder_s2>": _join([start, *ids[head:]]),
        "<Motion_Placeholder_Masked>": _join([*ids[:first], *[mask] * (last - first), *ids[last:]]),
    }
    for name, value in values.items():
        prompt = prompt.replace(name, value)
    return prompt


def _join(ids: Sequence[int]) -> str:
    return "".join(map(token_name, ids))


def noise_mask(length: int, rng: np.random.RandomState) -> np.ndarray:
    """Which of `length` >= 2 tokens to hide (bool): 15 % in spans of 3 on average, never the first one."""
    noise = int(np.clip(np.round(length * NOISE_DENSITY), 1, length - 1))
    spans = max(int(np.round(noise / MEAN_SPAN)), 1)
    hidden, shown = _random_parts(noise, spans, rng), _random_parts(length - noise, spans, rng)
    lengths = np.stack((shown, hidden), axis=1).ravel()
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def _random_parts(total: int, parts: int, rng: np.random.RandomState) -> np.ndarray:
    """`total` as a random sum of `parts` positive numbers."""
    cuts = np.arange(total - 1) < parts - 1
    rng.shuffle(cuts)
    return np.diff(np.concatenate(([0], np.flatnonzero(cuts) + 1, [total])))


def span_corruption(
    ids: Sequence[int], mask: np.ndarray, first_sentinel: int, eos_id: int
) -> tuple[list[int], list[int]]:
    """Encoder input and labels of T5's unsupervised task: hidden spans become sentinels, the labels say what they hide.

    The k-th span (from 0) has the sentinel `first_sentinel - k`; `eos_id` ends both sides."""
    shown, labels, sentinel = [], [], first_sentinel + 1
    for i, (token, hide) in enumerate(zip(ids, mask, strict=True)):
        if hide and (i == 0 or not mask[i - 1]):
            sentinel -= 1
            shown.append(sentinel)
            labels.append(sentinel)
        (labels if hide else shown).append(int(token))
    return [*shown, eos_id], [*labels, eos_id]
