"""Which tokens may come next in an answer, and which one ends it.

A grammar turns sampling into well-formed answers: a motion is start, codes, end; a text holds neither motion tokens
nor sentinels. `Free` allows everything.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class TextVocabulary(Protocol):
    """Ids from 0 to `size`; `text_mask()` (size,) bool, True for what a text may hold, its end `eos_id` included."""

    size: int
    eos_id: int

    def text_mask(self) -> Tensor: ...


class MotionVocabulary(TextVocabulary, Protocol):
    """Also has codes, `motion_mask()` (size,) bool, and the ids that begin and end a motion."""

    start_id: int
    end_id: int

    def motion_mask(self) -> Tensor: ...


class Grammar(Protocol):
    end_id: int

    def allowed(self, step: int) -> Tensor:
        """(V,) bool: the tokens that may be number `step` (from 0) of the answer."""
        ...


class Free:
    """Anything, until the end of sequence."""

    def __init__(self, vocabulary: TextVocabulary) -> None:
        self.end_id = vocabulary.eos_id
        self._all = torch.ones(vocabulary.size, dtype=torch.bool)

    def allowed(self, step: int) -> Tensor:
        return self._all


class TextGrammar:
    """At least one text token, then the end of sequence."""

    def __init__(self, vocabulary: TextVocabulary) -> None:
        self.end_id = vocabulary.eos_id
        self._text = vocabulary.text_mask()
        self._first = self._text.clone()
        self._first[self.end_id] = False

    def allowed(self, step: int) -> Tensor:
        return self._text if step else self._first


class MotionGrammar:
    """Start, then exactly `num_codes` codes (None: at least one), then end."""

    def __init__(self, vocabulary: MotionVocabulary, num_codes: int | None = None) -> None:
        self.end_id = vocabulary.end_id
        self.num_codes = num_codes
        self._start = _only(vocabulary.start_id, vocabulary.size)
        self._end = _only(vocabulary.end_id, vocabulary.size)
        self._codes = vocabulary.motion_mask()

    def allowed(self, step: int) -> Tensor:
        if step == 0:
            return self._start
        if self.num_codes is None:
            return self._codes if step == 1 else self._codes | self._end
        return self._codes if step <= self.num_codes else self._end


def _only(index: int, size: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[index] = True
    return mask
