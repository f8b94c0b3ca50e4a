"""A tiny random MotionStreamer over a causal auto-encoder, whose words are told apart by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mld.models.backbones.llama import LlamaConfig
from mld.models.contracts.text_encoder import TextEncoder, TextFeatures
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.families.motionstreamer.model import MotionStreamer
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from mld.motion.normalizer import Normalizer

CHANNELS, COLUMNS = 8, 272


class HashedText(TextEncoder, family="hashed"):
    """A random vector for each text, always the same one."""

    source, width, sentence_width, identity = "hashed", 12, 12, "hashed"

    @classmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder=None) -> HashedText:
        return cls()

    def encode(self, texts: Sequence[str], device="cpu") -> list[TextFeatures]:
        found = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")
            row = torch.randn(self.width, generator=torch.Generator().manual_seed(seed))
            found.append(TextFeatures(row[None], row))
        return found


def tiny_causal_ae(seed: int = 0, **config) -> CausalAE:
    torch.manual_seed(seed)
    statistics = Normalizer(torch.randn(COLUMNS) * 0.1, torch.rand(COLUMNS) * 0.1 + 0.05, "fitted")
    sizes = {"width": 24, "depth": 2, "latent_channels": CHANNELS, **config}
    return CausalAE(CausalAEConfig(**sizes), statistics).eval()


def tiny_streamer(seed: int = 0, text: TextEncoder | None = None, **config) -> MotionStreamer:
    """config: of `MotionStreamerConfig`. The head takes 6 steps, and words have a large effect."""
    tokenizer = tiny_causal_ae(seed)
    torch.manual_seed(seed)
    head = DiffusionHeadConfig(
        width=32, depth=2, pooling=False, noise_schedule="cosine", diffusion_steps=50, num_inference_steps="6",
        precondition=True,
    )  # fmt: skip
    settings = {"architecture": LlamaConfig(2, 2, 32, 40), "head": head, "window": 12, **config}
    parts = {"tokenizer": tokenizer, "text": text or HashedText()}
    model = MotionStreamer.create(MotionStreamerConfig(**settings), parts, []).eval()
    with torch.no_grad():
        model.text_embed.weight.mul_(20)
        model.tokenizer.decode_proj.weight.mul_(5)
    return model
