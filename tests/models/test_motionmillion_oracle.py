"""MotionMillion's transformer against a second, plain one: a row and a head at a time, complex rotations, no cache.

It is written from the spec (MotionMillion 3.2 to 3.5) and reads nothing but the state dict and sizes. float64.
"""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import DataError
from mld.example import Clip, Example, Text
from mld.models.families.motionmillion.decoding import Prompt
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.families.motionmillion.packing import Vocabulary, pack
from mld.models.noise import RowNoise
from tests.models.tiny_million import CODES, HashedWords, tiny_million

SIZES = [
    {"layers": 1, "heads": 1, "width": 6}, {"layers": 3, "heads": 3, "width": 30, "tie_head": True},
    {"layers": 2, "heads": 4, "width": 40}, {"layers": 4, "heads": 2, "width": 20},
]  # fmt: skip


class Plain:
    def __init__(self, model: MotionMillion) -> None:
        self.weights, self.blocks = model.state_dict(), model.config.llama()

    def rotated(self, row: Tensor) -> Tensor:
        """Channels (T, D) of a head; neighbours are a complex number, turned by its position."""
        pairs = torch.view_as_complex(row.reshape(len(row), -1, 2).contiguous())
        rates = 10000.0 ** -(torch.arange(0, row.shape[1], 2, dtype=torch.float64) / row.shape[1])
        angles = torch.outer(torch.arange(len(row), dtype=torch.float64), rates)
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(1)

    def normed(self, x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.weights[f"transformer.{name}.scale"]

    def logits(self, text: Tensor, codes: Tensor) -> Tensor:
        """Features (S, Z) and codes (L,) -> logits (S + L, V)."""
        w, heads = self.weights, self.blocks.heads
        said = text @ w["text_embed.weight"].T + w["text_embed.bias"]
        x = torch.cat((said, w["embed.weight"][codes]))
        count, words = len(x), len(text)
        hidden = torch.tensor([[not (j <= i or (i < words and j < words)) for j in range(count)] for i in range(count)])
        for layer in range(self.blocks.layers):
            own = f"h.{layer}"
            q, k, v = (self.normed(x, f"{own}.rms_1") @ w[f"transformer.{own}.attn.c_attn.weight"].T).chunk(3, 1)
            made = []
            for one in zip(*(part.chunk(heads, 1) for part in (q, k, v))):
                query, key, value = self.rotated(one[0]), self.rotated(one[1]), one[2]
                scores = (query @ key.T / query.shape[1] ** 0.5).masked_fill(hidden, -torch.inf)
                made.append(torch.softmax(scores, 1) @ value)
            x = x + torch.cat(made, 1) @ w[f"transformer.{own}.attn.c_proj.weight"].T
            y, mlp = self.normed(x, f"{own}.rms_2"), f"transformer.{own}.mlp"
            gate, up = y @ w[f"{mlp}.c_fc1.weight"].T, y @ w[f"{mlp}.c_fc2.weight"].T
            x = x + (gate * torch.sigmoid(gate) * up) @ w[f"{mlp}.c_proj.weight"].T
        return self.normed(x, "ln_f") @ w.get("head.weight", w["embed.weight"]).T

    def loss(self, text: Tensor, given: Tensor, codes: Tensor) -> tuple[float, int]:
        """The sum of what codes and the end cost behind text and given codes, and how many they are."""
        whole = torch.cat((given, codes))
        logits = self.logits(text, whole)[len(text) + len(given) - 1 :]
        targets = torch.cat((codes, torch.tensor([CODES])))
        return float(F.cross_entropy(logits, targets, reduction="sum")), len(targets)

    def greedy(self, text: Tensor, given: Tensor, count: int | None, most: int) -> list[int]:
        """The likeliest codes until the end; exactly `count` where that is given."""
        made: list[int] = []
        while len(made) < (most if count is None else count):
            last = self.logits(text, torch.cat((given, torch.tensor(made, dtype=torch.long))))[-1]
            code = int(last[: CODES if count is not None else CODES + 1].argmax())
            if code == CODES:
                break
            made.append(code)
        return made


def cases(number: int) -> tuple[MotionMillion, Plain, random.Random]:
    model = tiny_million(number, motion_generation={"do_sample": False}, positions=90, **SIZES[number]).double()
    for name, value in model.state_dict().items():
        if name.endswith(".scale"):
            value.add_(torch.rand_like(value) - 0.5)
    return model, Plain(model), random.Random(number)


def codes(count: int, chance: random.Random) -> Tensor:
    return torch.tensor([chance.randrange(CODES) for _ in range(count)], dtype=torch.long)


def said(words: int, chance: random.Random) -> str:
    return " ".join(f"word{chance.randrange(50)}" for _ in range(words))


def features(text: str, longest: int = 12) -> Tensor:
    return HashedWords().encode([text])[0].tokens[:longest].double()


class Doubled(HashedWords, family="doubled_words"):
    """The same in float64."""

    def encode(self, texts, device="cpu"):
        return [found._replace(tokens=found.tokens.double()) for found in super().encode(texts, device)]


@pytest.mark.parametrize("number", range(len(SIZES)))
@torch.no_grad()
def test_a_batch_of_different_texts_is_row_by_row_the_plain_one(number: int) -> None:
    model, plain, chance = cases(number)
    model.text = Doubled()
    shapes = [(0, 0, 5), (1, 3, 1), (11, 0, 30), (20, 7, 12), (4, 12, 0), (6, 0, 2)]  # words, given codes, codes
    rows = [(said(words, chance), codes(given, chance), codes(count, chance)) for words, given, count in shapes]
    batch = [
        Example((Text(text), *((Clip(tokens=given),) if len(given) else ())), (Clip(tokens=made),), 0, f"row{i}")
        for i, (text, given, made) in enumerate(rows)
    ]
    texts = model.texts(batch)
    assert [len(text) for text in texts] == [1, 2, 12, 12, 5, 7]
    packed = model.rows(batch, [len(text) for text in texts])
    logits = model.logits(model.states(texts, packed.tokens))
    sums = []
    for row, (text, given, made) in enumerate(rows):
        own = torch.cat((given, made))
        want = plain.logits(features(text), own)
        torch.testing.assert_close(logits[row, : len(want)], want, atol=1e-5, rtol=1e-5)
        sums.append(plain.loss(features(text), given, made))
    want = sum(cost for cost, _ in sums) / sum(count for _, count in sums)
    assert float(model.loss(batch)["code_loss"]) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("number", range(len(SIZES)))
@torch.no_grad()
def test_a_batch_of_answers_is_row_by_row_the_plain_one(number: int) -> None:
    model, plain, chance = cases(number)
    shapes = [(0, 0, None), (9, 0, 17), (3, 6, None), (11, 2, 1), (5, 11, 8)]  # words, given codes, wanted codes
    rows = [(features(said(words, chance)), codes(given, chance), count) for words, given, count in shapes]
    decoding = model.start([Prompt(text, given) for text, given, _ in rows], "motion", [row[2] for row in rows])
    going, made, ids = list(range(len(rows))), [[] for _ in rows], None
    random_rows = RowNoise(range(len(rows)))
    for _ in range(decoding.longest):
        ids, ended = decoding.draw(decoding.step(ids), random_rows)
        for row, code, over in zip(going, ids.tolist(), ended.tolist()):
            made[row] += [] if over else [code]
        stay = (~ended).nonzero()[:, 0]
        if len(stay) < len(going):
            going, ids = [going[place] for place in stay.tolist()], ids[stay]
            decoding.keep(stay)
            random_rows.keep(stay)
        if not going:
            break
    most = model.config.motion_generation.max_length
    assert made == [plain.greedy(text, given, count, most) for text, given, count in rows]
    assert [len(made[row]) for row in (1, 3, 4)] == [17, 1, 8]


def test_a_published_row_is_full_at_150_text_tokens_and_150_codes() -> None:
    """A text of 170 tokens is cut to 150; one code more than fits is refused before anything is computed."""
    text = said(169, random.Random(0))
    model = tiny_million(positions=301, longest_text=150, motion_generation={"max_length": 150})
    read = model.read([text, "word"])
    assert [len(row) for row in read] == [150, 2]
    assert torch.equal(read[0], HashedWords().encode([text])[0].tokens[:150])
    full = pack([torch.zeros(150, dtype=torch.long)], [150], Vocabulary(CODES), 301)
    assert full.tokens.shape == (1, 301) and int(full.tokens[0, -1]) == CODES
    target = (Clip(tokens=torch.zeros(150, dtype=torch.long)),)
    assert model.loss([Example((Text(text),), target, 300, "clip1")])["code_loss"].isfinite()
    target = (Clip(tokens=torch.zeros(151, dtype=torch.long)),)
    with pytest.raises(DataError, match="clip1: 151 codes, a text of 150 tokens and the end do not fit into 301"):
        model.loss([Example((Text(text),), target, 302, "clip1")])
    assert model.loss([Example((Text("word"),), target, 302, "clip1")])["code_loss"].isfinite()


def test_a_random_rate_of_random_codes_is_that_of_a_row_and_changes_what_it_should() -> None:
    """keep=-1: of rows with the same history some lose little and some much, and the loss is of the true codes."""
    model, chance = tiny_million(keep=-1.0, positions=90).train(), random.Random(3)
    own = codes(30, chance)
    batch = [Example((Text("walk"),), (Clip(tokens=own),), 60, "x")]
    usual, seen = float(model.eval().loss(batch)["code_loss"].detach()), []
    model.train()
    for seed in range(12):
        torch.manual_seed(seed)
        rate = torch.rand(1, 1)
        stay = torch.rand(1, 33) < rate
        inputs = torch.full((1, 33), CODES + 1)
        inputs[0, 2:32], inputs[0, 32] = own, CODES
        stay |= inputs >= CODES
        inputs = torch.where(stay, inputs, torch.randint_like(inputs, CODES))
        want, _ = plain_loss(model, inputs[0, 2:32], own)
        torch.manual_seed(seed)
        found = float(model.loss(batch)["code_loss"].detach())
        assert found == pytest.approx(want, rel=1e-4)
        seen.append(found)
    assert max(seen) - min(seen) > 1e-3 and any(abs(one - usual) > 1e-3 for one in seen)


def plain_loss(model: MotionMillion, read: Tensor, true: Tensor) -> tuple[float, int]:
    """What the true codes cost behind a history that is another one."""
    plain = Plain(tiny_million(positions=90).double())
    plain.weights = {name: value.double() for name, value in model.state_dict().items()}
    logits = plain.logits(features("walk"), read)[1:]
    targets = torch.cat((true, torch.tensor([CODES])))
    return float(F.cross_entropy(logits, targets)), len(targets)
