"""Sampling: filters, grammars, seeds, rows that finish at different times."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.sampling.autoregressive import sample
from mld.models.generation import GenerationSettings
from mld.models.grammar import Free, MotionGrammar, TextGrammar
from mld.models.logits import TokenDecoding, choose, filtered, nucleus, penalised
from tests.models.tiny import CODES, examples, tiny_motiongpt


@pytest.fixture(scope="module")
def model():
    return tiny_motiongpt()


def test_filters() -> None:
    p = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
    assert filtered(p, 2, 1.0).nonzero()[:, 1].tolist() == [1, 3]
    assert filtered(p, 0, 0.65).nonzero()[:, 1].tolist() == [1, 3]
    assert filtered(p, 0, 0.75).nonzero()[:, 1].tolist() == [1, 2, 3]
    assert filtered(p, 0, 1e-6).nonzero()[:, 1].tolist() == [1]
    assert torch.equal(filtered(p, 0, 1.0), p) and torch.equal(filtered(p, 9, 1.0), p)


@pytest.mark.parametrize("temperature", [1e-320, 1e-308, 1e-9])
def test_at_the_lowest_temperatures_the_likeliest_is_drawn(temperature):
    logits = torch.tensor([[-3.0, 90.0, 5e37, 2.0], [-5e37, -3e38, -6.0, -7.0]])
    allowed = torch.tensor([[True] * 4, [True, True, False, False]])
    drawn = choose(logits, allowed, torch.tensor([0.3, 0.999]), GenerationSettings(temperature=temperature, top_p=0.9))
    assert drawn.tolist() == [2, 0]



def naive_nucleus(row: list[float], top_p: float) -> list[int]:
    """Ids that are kept, one token after the other, of equal ones the lower id first."""
    kept, held = [], 0.0
    for token in sorted(range(len(row)), key=lambda token: (-row[token], token)):
        if held >= top_p and kept:
            break
        kept.append(token)
        held += row[token]
    return sorted(kept)


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("sharpness", [0.0, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("size", [5, 64, 65, 4097, 9000])
def test_the_nucleus_is_exact_however_far_it_reaches(top_p, sharpness, size):
    """Against the rule token by token: within the first few, beyond them, over all; whole halves make ties."""
    logits = (torch.randn(3, size, generator=torch.manual_seed(size)).double() * 2).round() / 2 * sharpness
    logits[1] = -torch.inf
    logits[1, 2:5] = 0.0  # one row is at its end at once, the others are not
    probabilities = torch.softmax(logits, -1)
    found = nucleus(probabilities, top_p)
    for row, whole in zip(found, probabilities):
        expected = naive_nucleus(whole.tolist(), top_p * float(whole.sum()))
        assert row.nonzero()[:, 0].tolist() == expected
        assert torch.equal(row[expected], whole[expected])


def test_of_equal_tokens_at_the_edge_the_lower_ids_stay():
    p = torch.tensor([[0.125, 0.25, 0.125, 0.25, 0.125, 0.125]]).double()
    assert [filtered(p, 0, share).nonzero()[:, 1].tolist() for share in (0.2, 0.26, 0.5, 0.51, 0.7, 0.8)] == [
        [1], [1, 3], [1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4],
    ]  # fmt: skip



def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().expand(4000, 4)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    allowed = torch.tensor([True, True, False, True]).expand(4000, 4)
    drawn = choose(logits, allowed, uniform, GenerationSettings(top_k=0)).bincount(minlength=4) / 4000
    torch.testing.assert_close(drawn, torch.tensor([0.125, 0.5, 0.0, 0.375]), atol=0.03, rtol=0)
    sharp = choose(logits, allowed, uniform, GenerationSettings(temperature=1e-3))
    assert (sharp == 1).all() and (choose(logits, allowed, uniform, GenerationSettings(do_sample=False)) == 1).all()


def test_the_ends_of_the_interval_draw_allowed_tokens() -> None:
    logits, allowed = torch.zeros(2, 5), torch.tensor([False, True, False, True, False]).expand(2, 5)
    uniform = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert choose(logits, allowed, uniform, GenerationSettings()).tolist() == [1, 3]


@pytest.mark.parametrize("num_codes", [1, 5, None])
def test_motions_are_well_formed(model, num_codes: int | None) -> None:
    words = model.vocabulary
    prompts = [model.prompt(e.prompt, "motion") for e in examples()]
    settings = GenerationSettings(max_length=12)
    answers = sample(TokenDecoding(model.steps(prompts), [MotionGrammar(words, num_codes)] * 5, settings), range(5))
    for answer in answers:
        ids = answer.tokens.tolist()
        assert ids[0] == words.start_id
        assert all(words.text_size <= i < words.text_size + CODES for i in ids[1:])
        assert 1 <= len(ids) - 1 <= 11
        if num_codes is not None:
            assert len(ids) == num_codes + 1 and answer.complete
        else:
            assert answer.complete == (len(ids) < 12)


def test_texts_hold_no_motion_and_no_sentinels(model) -> None:
    words = model.vocabulary
    prompts = [model.prompt(e.prompt, "text") for e in examples()] * 4
    settings = GenerationSettings(max_length=9)
    answers = sample(TokenDecoding(model.steps(prompts), [TextGrammar(words)] * 20, settings), range(20))
    for answer in answers:
        ids = answer.tokens.tolist()
        assert ids and all(words.text_mask()[i] and i != words.eos_id for i in ids)


@pytest.mark.parametrize("backbone", ["t5", "gpt2"])
def test_same_answer_alone_and_in_a_batch(backbone: str) -> None:
    model = tiny_motiongpt(backbone)
    grammar, settings = Free(model.vocabulary), GenerationSettings(max_length=16, top_p=0.95)
    prompts = [model.prompt(e.prompt, "motion") for e in examples()] * 2
    seeds = list(range(10))
    together = sample(TokenDecoding(model.steps(prompts), [grammar] * 10, settings), seeds)
    for prompt, seed, answer in zip(prompts, seeds, together):
        (alone,) = sample(TokenDecoding(model.steps([prompt]), [grammar], settings), [seed])
        assert torch.equal(alone.tokens, answer.tokens) and alone.complete == answer.complete
    assert not torch.equal(together[0].tokens, together[5].tokens), "another seed gives another answer"


class Scripted:
    """A decoding that writes its row's number of 7s, then the end token 1; notes the rows that are left."""

    def __init__(self, lengths: list[int]) -> None:
        self.left, self.sizes = list(lengths), []

    def step(self, ids):
        self.sizes.append(len(self.left))
        logits = torch.zeros(len(self.left), 9)
        for row, left in enumerate(self.left):
            logits[row, 7 if left else 1] = 9.0
        self.left = [max(0, left - 1) for left in self.left]
        return logits

    def keep(self, rows) -> None:
        self.left = [self.left[i] for i in rows.tolist()]


class Anything:
    end_id = 1

    def allowed(self, step: int) -> torch.Tensor:
        return torch.ones(9, dtype=torch.bool)


def test_finished_rows_leave() -> None:
    decoding, finished = Scripted([3, 0, 1, 9]), []
    settings = GenerationSettings(do_sample=False, max_length=5)
    answers = sample(TokenDecoding(decoding, [Anything()] * 4, settings), range(4), finished.append)
    assert [len(answer.tokens) for answer in answers] == [3, 0, 1, 5]
    assert [answer.complete for answer in answers] == [True, True, True, False]
    assert decoding.sizes == [4, 3, 2, 2, 1] and finished == [1, 1, 0, 1, 0]


def test_written_tokens_are_penalised() -> None:
    logits, written = torch.tensor([[2.0, -2.0, 3.0]]), torch.tensor([[True, True, False]])
    assert penalised(logits, written, 2.0).tolist() == [[1.0, -4.0, 3.0]]
    assert penalised(logits, written, 1.0) is logits


class Falling:
    """Every step likes token 5 best, then 4, then 3, by a little; rows with an odd number end after two tokens."""

    def __init__(self, rows: int) -> None:
        self.rows, self.steps = torch.arange(rows), 0

    def step(self, ids):
        logits = torch.linspace(1.0, 1.5, 6).repeat(len(self.rows), 1)
        if self.steps == 2:
            logits[self.rows % 2 == 1, 0] = 9.0
        self.steps += 1
        return logits

    def keep(self, rows) -> None:
        self.rows = self.rows[rows]


class Six(Anything):
    end_id = 0

    def allowed(self, step: int) -> torch.Tensor:
        return torch.ones(6, dtype=torch.bool)


def test_the_penalty_counts_a_rows_own_tokens_only() -> None:
    settings = GenerationSettings(do_sample=False, max_length=4, repetition_penalty=10.0)
    answers = sample(TokenDecoding(Falling(4), [Six()] * 4, settings), range(4))
    assert [answer.tokens.tolist() for answer in answers] == [[5, 4, 3, 2], [5, 4]] * 2
    unpenalised = dataclasses.replace(settings, repetition_penalty=1.0)
    free = sample(TokenDecoding(Falling(1), [Six()], unpenalised), [0])
    assert free[0].tokens.tolist() == [5, 5, 5, 5]
