"""What the ruler under a motion shows: tokens, and which frames were given and which generated."""

from __future__ import annotations

from mld.engine.request import Answer
from mld.engine.token_spans import token_spans
from mld.example import Clip
from mld.models.contracts.tokens import TokenLayout

GIVEN, GENERATED = "given", "generated"


def marks(answer: Answer, layout: TokenLayout) -> list[tuple[int, int, str]]:
    """(start frame, stop frame, label) of tokens, between what was given. Tokens that all stand for the whole clip tell
    nothing on a ruler: there only what was given and what was generated is told apart."""
    if answer.motion is None:
        return []
    total = answer.motion.num_frames
    given = [len(part.features) for part in answer.request.prompt if isinstance(part, Clip)]
    start = given[0] if given else 0
    stop = total - given[1] if len(given) > 1 else total
    tokens = token_spans(answer, layout)
    made = [(max(one, start), min(other, stop), label) for one, other, label in tokens if one < stop and other > start]
    if len(made) < 2:
        made = [(start, stop, GENERATED)] if given and start < stop else []
    before = [(0, start, GIVEN)] if start else []
    return [*before, *made, *([(stop, total, GIVEN)] if stop < total else [])]
