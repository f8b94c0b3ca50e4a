"""Which frames of an answer each of its tokens covers."""

from __future__ import annotations

from torch import Tensor

from mld.engine.request import Answer
from mld.example import Clip


def token_ruler(answer: Answer, frames_per_token: int) -> list[tuple[int, int, str]]:
    """(start frame, stop frame, label) of the generated tokens; empty for an answer in words.

    Tokens of a continuation start where the given frames end. Those of an in-between cover the whole; its first frames
    have no token where the given ones are no whole number of tokens. frames_per_token 0: latents of the whole clip, all
    of which cover all of it."""
    if answer.motion is None or answer.tokens is None:
        return []
    given = [len(part.features if part.joints is None else part.joints)
             for part in answer.request.prompt if isinstance(part, Clip)]
    frames = answer.motion.num_frames
    if not frames_per_token:
        start = given[0] if len(given) == 1 else 0
        return [(start, frames, "+".join(_labels(answer.tokens)))]
    first = {0: 0, 1: sum(given)}.get(len(given), given[0] % frames_per_token if given else 0)
    starts = range(first, frames, frames_per_token)
    stops = [min(start + frames_per_token, frames) for start in starts]
    return list(zip(starts, stops, _labels(answer.tokens)))


def _labels(tokens: Tensor) -> list[str]:
    """Codes (L,) by their number, latents (L, D) by their place."""
    if tokens.ndim == 1 and not tokens.is_floating_point():
        return [str(code) for code in tokens.tolist()]
    return [f"z{place}" for place in range(len(tokens))]
