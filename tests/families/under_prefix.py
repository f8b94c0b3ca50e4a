"""Codes in order under a prefix of text features from a frozen encoder, which is a part and never in the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.example import Clip, Example, Segment, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.generation import GenerationSettings
from mld.models.logits import TokenDecoding
from mld.padding import padded


@dataclass
class UnderPrefixConfig:
    width: int = 24
    longest: int = 40


class UnderPrefix(MotionGenerator, family="under_prefix"):
    Config = UnderPrefixConfig
    needs = ("tokenizer", "text")
    answers = frozenset({Shape("motion")})
    shard_units = (nn.TransformerEncoderLayer,)

    def __init__(self, config: UnderPrefixConfig, tokenizer, text) -> None:
        super().__init__()
        self.config, self.text = config, text
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        self.codes = tokenizer.layout.codebook_size
        self.prefix, self.table = nn.Linear(text.width, config.width), nn.Embedding(self.codes, config.width)
        self.block = nn.TransformerEncoderLayer(config.width, 2, 2 * config.width, 0.0, batch_first=True)
        self.head = nn.Linear(config.width, self.codes + 1)  # the last one ends a motion

    @classmethod
    def create(cls, config, parts, corpus) -> UnderPrefix:
        return cls(config, parts["tokenizer"], parts["text"])

    @classmethod
    def restore(cls, config, parts, folder=None) -> UnderPrefix:
        return cls(config, parts["tokenizer"], parts["text"])

    def adopt(self, config) -> None:
        self.config = config

    def prompt(self, prompt: Sequence[Segment], output, num_frames=None) -> Tensor:
        """Token features (S, Z)."""
        said = " ".join(part.text for part in prompt if isinstance(part, Text))
        return self.text.encode([said])[0].tokens

    def longest_prompt(self, output) -> int:
        return 64

    def most_tokens(self) -> int:
        return self.config.longest

    def logits(self, prefixes: Sequence[Tensor], codes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, L, K + 1) of every place, and which are last prefix or code (B, L)."""
        rows = [
            torch.cat((self.prefix(prefix.to(self.device)), self.table(row.to(self.device))))
            for prefix, row in zip(prefixes, codes, strict=True)
        ]
        hidden, mask = padded(rows, self.device)
        length = hidden.shape[1]
        first = torch.tensor([[len(prefix)] for prefix in prefixes], device=self.device)
        place = torch.arange(length, device=self.device)
        causal = torch.ones(length, length, dtype=torch.bool, device=self.device).triu(1)
        blocked = (causal[None] & (place >= first)[:, None]) | ~mask[:, None]
        out = self.block(hidden, src_mask=blocked.repeat_interleave(2, 0))
        return self.head(out), mask & (place >= first - 1)

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        clips = [next(part for part in example.target if isinstance(part, Clip)) for example in batch]
        codes = self.tokenize(clips)
        logits, counted = self.logits([self.prompt(example.prompt, "motion") for example in batch], codes)
        end = torch.tensor([self.codes])
        wanted = torch.cat([torch.cat((row, end)) for row in codes]).to(self.device)
        return {"code_loss": F.cross_entropy(logits[counted], wanted)}

    def start(self, prompts: Sequence[Tensor], output, counts: Sequence[int | None]) -> TokenDecoding:
        settings = GenerationSettings(max_length=self.config.longest + 1)
        return TokenDecoding(Anew(self, prompts), [Codes(self.codes, count) for count in counts], settings)


@dataclass
class Codes:
    """So many codes, or at least one, then the end."""

    codes: int
    count: int | None

    @property
    def end_id(self) -> int:
        return self.codes

    def allowed(self, step: int) -> Tensor:
        mask = torch.ones(self.codes + 1, dtype=torch.bool)
        if self.count is not None and step >= self.count:
            mask[: self.codes] = False
        elif self.count is not None or step == 0:
            mask[self.codes] = False
        return mask


class Anew:
    """The whole row at every step."""

    def __init__(self, model: UnderPrefix, prompts: Sequence[Tensor]) -> None:
        self.model, self.prompts = model, list(prompts)
        self.codes = [torch.zeros(0, dtype=torch.long) for _ in prompts]

    def step(self, ids: Tensor | None) -> Tensor:
        if ids is not None:
            self.codes = [torch.cat((row, new[None].cpu())) for row, new in zip(self.codes, ids, strict=True)]
        logits, counted = self.model.logits(self.prompts, self.codes)
        last = counted.int().cumsum(1).argmax(1)
        return logits[torch.arange(len(last)), last]

    def keep(self, rows: Tensor) -> None:
        self.prompts = [self.prompts[row] for row in rows.tolist()]
        self.codes = [self.codes[row] for row in rows.tolist()]
