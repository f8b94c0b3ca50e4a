"""Vectors in order: a recurrent network says where the next latent lies and whether the motion ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.example import Clip, Example, Segment
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.noise import RowNoise
from mld.padding import padded
from tests.families.words import BagOfWords


@dataclass
class InOrderConfig:
    width: int = 24
    noise: float = 0.1
    longest: int = 40


@dataclass
class Prompt:
    segments: Sequence[Segment]
    given: Tensor  # (L, C)

    def __len__(self) -> int:
        return 1 + len(self.given)


class InOrder(MotionGenerator, family="in_order"):
    Config = InOrderConfig
    answers = frozenset({Shape("motion", 0), Shape("motion", 1)})
    shard_units = (nn.GRU,)

    def __init__(self, config: InOrderConfig, tokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        channels = tokenizer.layout.channels
        self.words, self.begin = BagOfWords(config.width), nn.Parameter(torch.zeros(channels))
        self.cell = nn.GRU(channels, config.width, batch_first=True)
        self.next, self.end = nn.Linear(config.width, channels), nn.Linear(config.width, 1)

    @classmethod
    def create(cls, config, parts, corpus) -> InOrder:
        return cls(config, parts["tokenizer"])

    @classmethod
    def restore(cls, config, parts, folder=None) -> InOrder:
        return cls(config, parts["tokenizer"])

    def adopt(self, config) -> None:
        self.config = config

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """The next latent after the true ones, and after the predicted ones for a share that grows with training."""
        clips = [next(part for part in example.target if isinstance(part, Clip)) for example in batch]
        rows = [row.to(self.device) for row in self.tokenize(clips)]
        want, mask = padded(rows, self.device)
        first = self.words([example.prompt for example in batch])[None]
        seen = torch.cat((self.begin.expand(len(want), 1, -1), want[:, :-1]), 1)
        hidden, _ = self.cell(seen, first)
        guessed = torch.cat((seen[:, :1], self.next(hidden)[:, :-1]), 1).detach()
        mixed = torch.where(torch.rand(seen.shape[:2], device=seen.device)[..., None] < progress, guessed, seen)
        hidden, _ = self.cell(mixed, first)
        last = mask & ~F.pad(mask[:, 1:], (0, 1))
        ends = F.binary_cross_entropy_with_logits(self.end(hidden)[..., 0][mask], last[mask].float())
        return {"latent_loss": F.mse_loss(self.next(hidden)[mask], want[mask]), "end_loss": ends}

    def prompt(self, prompt, output, num_frames=None) -> Prompt:
        clips = [part.tokens for part in prompt if isinstance(part, Clip)]
        return Prompt(prompt, torch.cat(clips) if clips else torch.zeros(0, self.tokenizer.layout.channels))

    def most_tokens(self) -> int:
        return self.config.longest

    def start(self, prompts: Sequence[Prompt], output, counts: Sequence[int | None]) -> Unrolling:
        return Unrolling(self, prompts, counts)


@dataclass
class Unrolling:
    """A decoding whose state is the hidden state of the cell."""

    model: InOrder
    prompts: Sequence[Prompt]
    counts: Sequence[int | None]
    drawn: int = 0
    hidden: Any = field(default=None)

    @property
    def longest(self) -> int:
        return max(self.model.config.longest, *(count + 1 for count in self.counts if count is not None), 1)

    def step(self, tokens: Tensor | None) -> Tensor:
        if tokens is None:
            self.hidden = torch.cat([self._read(prompt) for prompt in self.prompts], 1)
        else:
            _, self.hidden = self.model.cell(tokens[:, None], self.hidden)
        return self.hidden[0]

    def _read(self, prompt: Prompt) -> Tensor:
        seen = torch.cat((self.model.begin[None], prompt.given.to(self.model.device)))
        return self.model.cell(seen[None], self.model.words([prompt.segments])[None])[1]

    def draw(self, state: Tensor, noise: RowNoise) -> tuple[Tensor, Tensor]:
        mean = self.model.next(state)
        moved = mean + self.model.config.noise * noise.normal(self.drawn, mean.shape[1:]).to(mean)
        wishes = (self.model.end(state)[:, 0] > 0).tolist()
        ended = [wish and self.drawn > 0 if count is None else self.drawn >= count
                 for wish, count in zip(wishes, self.counts)]  # fmt: skip
        self.drawn += 1
        return moved, torch.tensor(ended, device=mean.device)

    def keep(self, rows: Tensor) -> None:
        self.hidden = self.hidden[:, rows]
        self.counts = [self.counts[row] for row in rows.tolist()]
