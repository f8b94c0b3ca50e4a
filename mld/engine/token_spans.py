"""Which frames of an answer each of its tokens covers."""

from __future__ import annotations

from torch import Tensor

from mld.engine.request import Answer
from mld.models.contracts.tokens import TokenLayout


def token_spans(answer: Answer, layout: TokenLayout) -> list[tuple[int, int, str]]:
    """(start frame, stop frame, label) of the generated tokens; empty for an answer in words. Tokens of a whole clip
    all cover all of it."""
    if answer.motion is None or answer.tokens is None:
        return []
    first, frames, step = answer.first_frame, answer.motion.num_frames, layout.frames_per_token
    if not step:
        return [(first, frames, "+".join(_labels(answer.tokens)))]
    starts = range(first, frames, step)
    stops = [min(start + step, frames) for start in starts]
    return list(zip(starts, stops, _labels(answer.tokens)))


def _labels(tokens: Tensor) -> list[str]:
    """Codes (L,) by their number, latents (L, C) by their place."""
    if tokens.ndim == 1 and not tokens.is_floating_point():
        return [str(code) for code in tokens.tolist()]
    return [f"z{place}" for place in range(len(tokens))]
