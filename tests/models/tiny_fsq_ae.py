"""A tiny random tokenizer of MotionMillion, and clips for it."""

from __future__ import annotations

import torch

from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.motion.normalizer import Normalizer

COLUMNS = 272


def tiny_fsq_ae(seed: int = 0, **config) -> FSQAE:
    """A random tokenizer that uses many codes, with statistics that are not the identity."""
    torch.manual_seed(seed)
    statistics = Normalizer(torch.randn(COLUMNS) * 0.1, torch.rand(COLUMNS) * 0.1 + 0.05, "fitted")
    model = FSQAE(FSQAEConfig(**{"codes": 256, "width": 12, "code_dim": 8, "depth": 2, **config}), statistics)
    model.eval()
    frames, into = torch.randn(4, 96, COLUMNS), model.quantizer.project_in
    with torch.no_grad():
        latents = model.quantizer.project(model.hidden(frames, whole(frames))[0])
        std, mean = torch.std_mean(latents, (0, 1))
        into.weight.div_(std[:, None])
        into.bias.copy_((into.bias - mean) / std)
    return model


def clip(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, COLUMNS, generator=torch.Generator().manual_seed(seed)) * 0.1


def whole(frames: torch.Tensor) -> torch.Tensor:
    return torch.ones(frames.shape[:2], dtype=torch.bool)
