"""A tiny random MotionMillion over a VQ-VAE of 272 columns, whose texts are words that are told apart by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mld.models.contracts.text_encoder import TextEncoder, TextFeatures
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.motionmillion.config import MotionMillionConfig
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.generation import GenerationSettings
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer

COLUMNS, CODES = 272, 30
SIZES = {"layers": 2, "heads": 2, "width": 32, "positions": 60, "longest_text": 12}


class HashedWords(TextEncoder, family="hashed_words"):
    """A random vector for each word, always the same one, and one for the end."""

    source, width, sentence_width, identity = "hashed_words", 20, 20, "hashed_words"

    def __init__(self) -> None:
        self.asked: list[str] = []

    @classmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder=None) -> HashedWords:
        return cls()

    def encode(self, texts: Sequence[str], device="cpu") -> list[TextFeatures]:
        self.asked += texts
        found = []
        for text in texts:
            rows = torch.stack([self._word(word) for word in (*text.split(), "</s>")])
            found.append(TextFeatures(rows, rows.mean(0)))
        return found

    def _word(self, word: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "little")
        return torch.randn(self.width, generator=torch.Generator().manual_seed(seed))


def tiny_codes(seed: int = 0, columns: int = COLUMNS) -> VQVAE:
    """Codes of two frames each that do not collapse."""
    torch.manual_seed(seed)
    statistics = Normalizer(torch.randn(columns) * 0.1, torch.rand(columns) * 0.1 + 0.05, "fitted")
    config = VQVAEConfig(representation="motion272", width=24, code_dim=16, codebook_size=CODES, down_t=1, depth=1)
    model = VQVAE(config, statistics)
    hidden, _ = model.encoder(torch.randn(4, columns, 64), torch.ones(4, 1, 64, dtype=torch.bool))
    model.quantizer.codebook.copy_(hidden.detach().transpose(1, 2).reshape(-1, 16)[:CODES])
    return model.eval()


def tiny_million(
    seed: int = 0, text: TextEncoder | None = None, tokenizer: MotionTokenizer | None = None, **config
) -> MotionMillion:
    """config: of `MotionMillionConfig`."""
    generation = GenerationSettings(**{"max_length": 40, "top_k": 0, **config.pop("motion_generation", {})})
    tokenizer = tokenizer or tiny_codes(seed)
    torch.manual_seed(seed)
    settings = MotionMillionConfig(**{**SIZES, "motion_generation": generation, **config})
    parts = {"tokenizer": tokenizer, "text": text or HashedWords()}
    return MotionMillion.create(settings, parts, []).eval()
