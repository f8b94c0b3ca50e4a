"""MotionMillion: the features of a text's tokens and motion codes through LLaMA blocks, the next code by a softmax.

A text is read both ways, its last position foretells the first code; the end is a token behind the codes
(MotionMillion spec 3). Published over 64,000 codes of two frames each, from 44 M to 7 B parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.example import Clip, Example, Segment, said
from mld.models.backbones.llama import Llama, LlamaBlock
from mld.models.contracts.generator import MotionGenerator, Output, Shape
from mld.models.contracts.network import Parts
from mld.models.contracts.published import PublishedTest
from mld.models.contracts.text_encoder import TextEncoder, token_features
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.motionmillion.config import END_FIRST, MotionMillionConfig
from mld.models.families.motionmillion.decoding import CodeDecoding, Prompt
from mld.models.families.motionmillion.memory import activation_bytes
from mld.models.families.motionmillion.packing import Rows, Vocabulary, corrupted, kept, pack
from mld.models.quantization import RoundedTable
from mld.padding import padded


class MotionMillion(MotionGenerator, family="motionmillion"):
    """config: `MotionMillionConfig`; text: an encoder whose token features are read."""

    Config = MotionMillionConfig
    needs = ("tokenizer", "text")
    answers = frozenset({Shape("motion", 0), Shape("motion", 1)})
    shard_units = (LlamaBlock,)
    tables = ("embed",)
    published: ClassVar[Mapping[str, Any]] = {"compat": True}
    published_test = PublishedTest(4, 60, 200, open_length=True, whole_groups=True, no_diversity=True)

    def __init__(self, config: MotionMillionConfig, tokenizer: MotionTokenizer, text: TextEncoder) -> None:
        super().__init__()
        if not (tokenizer.layout.codebook_size and tokenizer.layout.frames_per_token):
            raise ConfigError(f"motionmillion needs codes in order, as of 'fsq_ae', not '{tokenizer.family}'")
        self.config, self.text = config, text
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        self.vocabulary, blocks = Vocabulary(tokenizer.layout.codebook_size), config.llama()
        self.embed = nn.Embedding(self.vocabulary.size, blocks.width)
        self.text_embed = nn.Linear(text.width, blocks.width)
        self.transformer = Llama(blocks)
        self.head = None if config.tie_head else nn.Linear(blocks.width, self.vocabulary.end_id + 1, bias=False)

    @classmethod
    def create(cls, config: MotionMillionConfig, parts: Parts, corpus: Sequence[str]) -> MotionMillion:
        return cls(config, parts["tokenizer"], parts["text"])

    @classmethod
    def restore(cls, config: MotionMillionConfig, parts: Parts, folder: Path | None = None) -> MotionMillion:
        return cls(config, parts["tokenizer"], parts["text"])

    def adopt(self, config: MotionMillionConfig) -> None:
        """Settings of training and sampling; sizes stay those of the trained model."""
        own = ("size", "layers", "heads", "width", "positions", "tie_head", "rope_dtype")
        self.config = replace(config, **{name: getattr(self.config, name) for name in own})

    def answer_as_published(self) -> None:
        """Published sampling takes the likeliest code."""
        greedy = replace(self.config.motion_generation, do_sample=False, repetition_penalty=1.0)
        self.adopt(replace(self.config, motion_generation=greedy, **self.published))

    @property
    def reads_lengths(self) -> bool:
        return self.config.length_words and not self.config.compat

    # training

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """`code_loss`: cross-entropy of codes and ends, given texts and the true history."""
        texts = self.texts(batch)
        rows = self.rows(batch, [len(text) for text in texts])
        inputs = rows.tokens
        if self.training and self.config.keep != 1:
            stay = kept(inputs, self.vocabulary, self.config.keep, self.config.compat)
            inputs = corrupted(inputs, stay, torch.randint_like(inputs, self.vocabulary.num_codes))
        loss, accuracy = self.step(texts, inputs, rows)
        return {"code_loss": loss, "monitor/accuracy": accuracy}

    def step(self, texts: Sequence[Tensor], inputs: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of what `rows` counts, and how much of it is the likeliest. texts (S, Z) each; inputs
        (B, T): tokens that are read. The table of codes is large: only states that count go through the head."""
        inputs, tokens, counted = (part.to(self.device) for part in (inputs, *rows))
        states, foretold = self.states(texts, inputs)[:, :-1], counted[:, 1:]
        logits, targets = self.logits(states[foretold]).float(), tokens[:, 1:][foretold]
        accuracy = (logits.detach().argmax(-1) == targets).float().mean()
        return F.cross_entropy(logits, targets), accuracy

    def states(self, texts: Sequence[Tensor], tokens: Tensor) -> Tensor:
        """Texts (S, Z) each, tokens (B, T), whatever they are where the text stands -> states (B, T, W)."""
        features, mask = padded([text.to(self.device) for text in texts])
        embedded = self.embed(tokens)
        width = min(mask.shape[1], tokens.shape[1])  # a row may be shorter than another's text
        said = self.text_embed(features[:, :width]).to(embedded.dtype)
        first = torch.where(mask[:, :width, None], said, embedded[:, :width])
        return self.transformer(torch.cat((first, embedded[:, width:]), 1), mask.sum(1))

    def logits(self, states: Tensor) -> Tensor:
        """States (..., W) -> logits (..., V) of codes and the end; with `tie_head` also of padding."""
        if self.head is not None:
            return self.head(states)
        table = self.embed
        return table.read_by(states) if isinstance(table, RoundedTable) else F.linear(states, table.weight)

    def activation_bytes(self, items: int, frames: int, half: bool, again: bool) -> int:
        codes = min(frames // self.tokenizer.layout.frames_per_token, self.config.motion_generation.max_length)
        return activation_bytes(
            self.config, codes, self.vocabulary.end_id + 1, self.text.width, items, half, again
        )

    def rows(self, batch: Sequence[Example], texts: Sequence[int]) -> Rows:
        """Tokens of examples behind texts of so many tokens; what is given is history."""
        given = self._codes([example.prompt for example in batch])
        target = self._codes([example.target for example in batch])
        whole = [torch.cat((before, after)) for before, after in zip(given, target)]
        names, counts = [example.name for example in batch], [len(row) for row in given]
        return pack(whole, texts, self.vocabulary, self.config.positions, counts, names)

    def _codes(self, sides: Sequence[Sequence[Segment]]) -> list[Tensor]:
        """The codes (L,) of all clips of each side, one after the other."""
        clips = [[part for part in side if isinstance(part, Clip)] for side in sides]
        found = iter(self.tokenize([clip for side in clips for clip in side]))
        nothing = torch.zeros(0, dtype=torch.long)
        return [torch.cat((nothing, *(next(found) for _ in side))) for side in clips]

    def texts(self, batch: Sequence[Example]) -> list[Tensor]:
        """Features (S, Z) of what examples say; in training a share of them says nothing."""
        texts = [said(example.prompt) for example in batch]
        if self.training and self.config.text_dropout:
            dropped = torch.rand(len(texts)) < self.config.text_dropout
            texts = ["" if drop else text for text, drop in zip(texts, dropped.tolist())]
        return self.read(texts)

    def read(self, texts: Sequence[str]) -> list[Tensor]:
        """Features (S, Z) of texts, at most `longest_text` of each."""
        return [row[: self.config.longest_text] for row in token_features(self.text, texts, self.device)]

    # what the engine drives

    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Prompt:
        (given,) = self._codes([prompt])
        return Prompt(self.read([said(prompt)])[0], given)

    def left_out(self, prompt: Sequence[Segment]) -> str:
        words, longest = said(prompt), self.config.longest_text
        if len(words) < longest:  # a token has a letter, and the end is one more
            return ""
        count = len(self.text.encode([words], self.device)[0].tokens)
        return f"the text has {count} tokens, of which this model reads {longest}" if count > longest else ""

    def longest_prompt(self, output: Output) -> int:
        return self.config.positions - self.config.motion_generation.max_length

    def most_tokens(self) -> int:
        return self.config.motion_generation.max_length

    def start(self, prompts: Sequence[Prompt], output: Output, counts: Sequence[int | None]) -> CodeDecoding:
        rows = self.vocabulary.size if self.head is None else self.vocabulary.end_id + 1
        return CodeDecoding(self, prompts, counts, rows)

    def read_motion(self, tokens: Tensor) -> Tensor:
        """The codes of an answer; as published, one that ended at once is the code 1."""
        if self.config.compat and not len(tokens):
            return torch.tensor([END_FIRST])
        return tokens
