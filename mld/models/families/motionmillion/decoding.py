"""Codes one after the other: steps with kept keys and values, and what may follow (MotionMillion spec 3.5).

A row is `text | codes so far`. Rows of a batch have texts of different lengths, all from position 0 on. Without the
cache (`cached=False`) every step is the published one, which reads the whole rows and puts all their states through the
head: the oracle of the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mld.models.backbones.layers import LogitSteps
from mld.models.backbones.llama import Llama
from mld.models.families.motionmillion.config import PUBLISHED_CAP, MotionMillionConfig
from mld.models.families.motionmillion.packing import Vocabulary
from mld.models.grammar import Grammar
from mld.models.logits import TokenDecoding
from mld.padding import padded


class Prompt(NamedTuple):
    """text (S, Z): features of its tokens. given (L,): codes of the motion that is to go on."""

    text: Tensor
    given: Tensor

    def __len__(self) -> int:  # in positions
        return len(self.text) + len(self.given)


class CodeModel(Protocol):
    """What decoding needs of the model."""

    config: MotionMillionConfig
    device: torch.device
    vocabulary: Vocabulary
    transformer: Llama
    embed: nn.Embedding
    text_embed: nn.Linear

    def logits(self, states: Tensor) -> Tensor: ...


class CodeSteps:
    """`LogitSteps` of rows that begin together. longest: codes that a row may get, none for any number."""

    def __init__(
        self, model: CodeModel, prompts: Sequence[Prompt], cached: bool = True, longest: int | None = None
    ) -> None:
        self.model, self.cached = model, cached
        self.begun = [self._embedded(prompt) for prompt in prompts]  # (S + L, W) each
        self.texts = torch.tensor([len(prompt.text) for prompt in prompts], device=model.device)
        self.lengths = [len(prompt) for prompt in prompts]
        self.read = torch.tensor(self.lengths, device=model.device)  # positions whose keys and values are kept
        room = None if longest is None else max(self.lengths) + longest
        self.cache = model.transformer.new_cache(len(prompts), room) if cached else None

    @torch.no_grad()
    def step(self, ids: Tensor | None) -> Tensor:
        """Append a code (B,) to every row (None at first); logits (B, V) of the next ones."""
        if ids is not None:
            embedded = self.model.embed(ids)
            if self.cached:
                return self._behind(embedded)
            self.begun = [torch.cat((row, one[None])) for row, one in zip(self.begun, embedded, strict=True)]
        return self._from_the_start()

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        self.texts, self.read, places = self.texts[rows], self.read[rows], rows.tolist()
        self.begun, self.lengths = [self.begun[row] for row in places], [self.lengths[row] for row in places]
        if self.cache is not None:
            self.cache.keep(rows)

    def _behind(self, embedded: Tensor) -> Tensor:
        """Read one more position of each row, (B, W): logits (B, V)."""
        seen = max(self.lengths) + 1
        states = self.model.transformer.extend(embedded[:, None], self.read[:, None], self.cache, None, seen=seen)
        self.lengths, self.read = [length + 1 for length in self.lengths], self.read + 1
        return self.model.logits(states[:, 0])

    def _from_the_start(self) -> Tensor:
        """Read whole rows: logits (B, V) behind the last position of each."""
        embedded, mask = padded(self.begun)
        rows, last = torch.arange(len(embedded)), mask.sum(1) - 1
        if not self.cached:
            return self.model.logits(self.model.transformer(embedded, self.texts))[rows, last]
        longest = embedded.shape[1]
        positions = torch.arange(longest, device=embedded.device).expand(embedded.shape[:2])
        states = self.model.transformer.extend(embedded, positions, self.cache, None, self.texts, longest)
        return self.model.logits(states[rows, last])

    def _embedded(self, prompt: Prompt) -> Tensor:
        text, given = prompt.text.to(self.model.device), prompt.given.to(self.model.device)
        return torch.cat((self.model.text_embed(text), self.model.embed(given)))


class CodeGrammar:
    """`count` codes and the end; or, where that is none, from `least` to `most` (none: any number of) codes. ends: the
    end may come by itself."""

    def __init__(
        self, vocabulary: Vocabulary, rows: int, count: int | None, least: int = 0, most: int | None = None,
        ends: bool = True,
    ) -> None:  # fmt: skip
        self.end_id = vocabulary.end_id
        self.least, self.most = (least, most) if count is None else (count, count)
        self.ends = ends or count is not None
        ids = torch.arange(rows)
        self._codes, self._end, self._both = ids < self.end_id, ids == self.end_id, ids <= self.end_id

    def over(self, step: int) -> bool:
        """Whether only the end may follow."""
        return self.most is not None and step >= self.most

    def allowed(self, step: int) -> Tensor:
        if self.over(step):
            return self._end
        return self._codes if step < self.least or not self.ends else self._both


class CodeDecoding(TokenDecoding):
    """Answers to prompts. counts: codes of each, none to leave it open."""

    def __init__(
        self, model: CodeModel, prompts: Sequence[Prompt], counts: Sequence[int | None], rows: int, cached: bool = True
    ) -> None:
        config = model.config
        settings, free = config.motion_generation, not config.motion_generation.constrain
        cap = min(PUBLISHED_CAP, settings.max_length) if config.compat else None
        grammars: list[Grammar] = [
            CodeGrammar(model.vocabulary, rows, None if free else count, 0 if free else config.least_codes, cap,
                        config.ends)
            for count in counts
        ]  # fmt: skip
        longest = settings.max_length if cap is None else cap + 1
        longest = max([longest, *(count + 1 for count in counts if count is not None)])
        steps: LogitSteps = CodeSteps(model, prompts, cached, longest)
        super().__init__(steps, grammars, settings)
        self.longest = longest

    def step(self, tokens: Tensor | None) -> Tensor:
        if tokens is not None and all(grammar.over(self._count) for grammar in self.grammars):
            return torch.zeros_like(self._written, dtype=torch.float32)  # the end, whatever the network says
        return super().step(tokens)
