"""The use of codes: by hand, whatever the order, in several processes, and without codes."""

from __future__ import annotations

import math

import pytest
import torch

from mld.metrics.code_use import CodeUse, perplexity


def test_evenly_used_codes_count_in_full() -> None:
    assert perplexity(torch.tensor([3, 3, 0, 3, 3])) == pytest.approx(4, rel=1e-5)
    assert perplexity(torch.tensor([7, 0])) == pytest.approx(1, rel=1e-5)
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert perplexity(torch.tensor([2, 1, 1])) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_clips_come_in_any_order_and_more_than_once() -> None:
    clips = {0: [1, 1, 2], 1: [63_999], 2: [5, 2]}
    by_hand = CodeUse()
    for codes in clips.values():
        by_hand.update(torch.tensor(codes))
    shared = CodeUse()
    for number in (2, 0, 1, 0):  # a sampler repeats a clip to fill its last batch
        shared.update(torch.tensor(clips[number]), number)
    scores = shared.scores(draws=20)
    assert scores == by_hand.scores()
    assert scores["codes_used"].value == 4 and scores["codes_used"].n == 3 and scores["codes_used"].interval is None
    share = torch.tensor([2, 2, 1, 1]) / 6
    assert scores["code_perplexity"].value == pytest.approx(math.exp(-(share * share.log()).sum()), rel=1e-5)


def test_without_codes_there_is_a_reason() -> None:
    scores = CodeUse().scores()
    assert scores["codes_used"].value is None and scores["codes_used"].reason == "no item was measured"
