"""MotionMillion of any size with random weights, for benchmarks: speed and memory do not depend on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.models.contracts.text_encoder import TextEncoder, TextFeatures
from mld.models.families.motionmillion.config import MotionMillionConfig
from mld.models.families.motionmillion.decoding import CodeDecoding, Prompt
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.generation import GenerationSettings
from mld.models.loading import without_weights
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig

TEXT = 32  # tokens of a usual caption (MotionMillion spec 10)
WIDTH = 2048  # of Flan-T5-XL


class Drawn(TextEncoder, family="drawn"):
    """Random features, as many tokens as a usual caption has: stands for features that come from a cache."""

    source, width, sentence_width, identity = "drawn", WIDTH, WIDTH, "drawn"

    @classmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder: Path | None = None) -> Drawn:
        return cls()

    def encode(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        drawn = [torch.randn(TEXT, WIDTH, generator=torch.Generator().manual_seed(len(text))) for text in texts]
        return [TextFeatures(tokens, tokens.mean(0)) for tokens in drawn]


def untrained(size: str, seed: int = 0, meta: bool = False, **config: Any) -> MotionMillion:
    """A network of a published size over a published tokenizer. meta: without memory."""
    torch.manual_seed(seed)
    greedy = GenerationSettings(do_sample=False, top_k=0, max_length=150)
    settings = MotionMillionConfig(size=size, motion_generation=greedy, **config)

    def make() -> MotionMillion:
        tokenizer = FSQAE(FSQAEConfig())
        return MotionMillion.create(settings, {"tokenizer": tokenizer, "text": Drawn()}, []).eval()

    if not meta:
        return make()
    with without_weights(), torch.device("meta"):
        return make()


def prompts(model: MotionMillion, count: int) -> list[Prompt]:
    """Texts of different features, nothing given."""
    texts = model.text.encode(["a" * number for number in range(count)])
    return [Prompt(text.tokens, torch.zeros(0, dtype=torch.long)) for text in texts]


def decoding(
    model: MotionMillion, count: int, codes: int, cached: bool, asked: Sequence[Prompt] | None = None
) -> CodeDecoding:
    """`count` answers of exactly `codes` codes in the making. asked: other prompts than `prompts`."""
    rows = model.vocabulary.size if model.head is None else model.vocabulary.end_id + 1
    return CodeDecoding(model, asked or prompts(model, count), [codes] * count, rows, cached)


def logits_of(model: MotionMillion, codes: Tensor, prompt: Prompt | None = None) -> Tensor:
    """Logits (L, V) behind each of codes (L,), given the true ones before."""
    steps = decoding(model, 1, len(codes), True, None if prompt is None else [prompt]).steps
    return torch.cat([steps.step(None), *(steps.step(code[None]) for code in codes[:-1])])
