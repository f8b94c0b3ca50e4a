"""Tiny random networks that tests share."""

from __future__ import annotations

import torch

from mld.example import Clip, Example, Text
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.model import MotionGPT
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.tokenizers.vae import MotionVAE, MotionVAEConfig
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer

CODES, WIDTH = 24, 263
CORPUS = ["a person walks forward, then stops."] * 4 + ['someone jumps up "twice" and sits down.'] * 4
SIZES = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 160},
}


def tiny_vqvae(seed: int = 0, **config) -> VQVAE:
    """A random tokenizer that uses many of its codes, with statistics that are not the identity."""
    torch.manual_seed(seed)
    statistics = Normalizer(torch.randn(WIDTH) * 0.1, torch.rand(WIDTH) * 0.1 + 0.05, "fitted")
    model = VQVAE(VQVAEConfig(**{"width": 24, "code_dim": 16, "codebook_size": CODES, **config}), statistics)
    if model.config.quantizer != "orig":
        hidden, _ = model.encoder(torch.randn(4, WIDTH, 64), torch.ones(4, 1, 64, dtype=torch.bool))
        model.quantizer.codebook.copy_(hidden.detach().transpose(1, 2).reshape(-1, 16)[:CODES])
    return model.eval()


def tiny_vae(seed: int = 0, **config) -> MotionVAE:
    """A random VAE of 16 latent channels, with statistics that are not the identity."""
    torch.manual_seed(seed)
    statistics = Normalizer(torch.randn(WIDTH) * 0.1, torch.rand(WIDTH) * 0.1 + 0.05, "fitted")
    sizes = {"latent_channels": 16, "ff_size": 32, "num_layers": 3, "num_heads": 2, "dropout": 0.0}
    vae = MotionVAE(MotionVAEConfig(**{**sizes, **config}), statistics).eval()
    vae.measure(features(20 + i, i) for i in range(20))
    return vae


def tiny_motiongpt(backbone: str = "t5", seed: int = 0, **config) -> MotionGPT:
    tokenizer = tiny_vqvae(seed)
    lm = LanguageModelConfig(backbone=backbone, architecture=SIZES[backbone], text_vocabulary=320, max_length=128)
    return MotionGPT.create(MotionGPTConfig(lm=lm, **config), {"tokenizer": tokenizer}, CORPUS).eval()


def tiny_motiongpt3(seed: int = 0, vae: MotionVAE | None = None, **config) -> MotionGPT3:
    """A random two-branch model whose head takes 10 steps. config: of `MotionGPT3Config`."""
    vae = vae or tiny_vae(seed)
    torch.manual_seed(seed)
    parts = {
        "lm": TwoBranchConfig(architecture=SIZES["gpt2"], text_vocabulary=320, max_length=128),
        "head": DiffusionHeadConfig(width=32, depth=2, num_pooling_heads=2, num_inference_steps="10"),
    }
    return MotionGPT3.create(MotionGPT3Config(**{**parts, **config}), {"tokenizer": vae}, CORPUS).eval()


def features(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.1


def examples() -> list[Example]:
    """One example of every task and one instruction."""
    text, whole = Text("a person walks forward."), Clip(features=features(40))
    head, rest = Clip(features=features(40)[:8]), Clip(features=features(40)[8:], start=8)
    tail = Clip(features=features(40)[32:], start=32)
    return [
        Example((text,), (whole,), 40, "t2m"),
        Example((whole,), (text,), 40, "m2t"),
        Example((head,), (rest,), 40, "pred"),
        Example((head, tail), (whole,), 40, "inbetween"),
        Example((Text("How long is ", True), whole, Text("?", True)), (Text("40 frames", True),), 40, "instruct"),
    ]


def full_mask(x: torch.Tensor) -> torch.Tensor:
    """A mask (B, T) that keeps every frame of x (B, T, ...)."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
