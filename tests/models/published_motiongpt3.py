"""Files as MotionGPT3 and MLD publish them, written from tiny random models by the names of the spec (1.4, 5.2)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.tokenizers.vae import MotionVAE
from mld.motion.normalizer import Normalizer
from tests.models.tiny import tiny_motiongpt3, tiny_vae

TABLE = "lm.language_model.transformer.wte.weight"
COPIES = ("lm_head.weight", "pre_processors.0.weight", "post_processors.0.weight")
# What shapes do not tell of the tiny models.
SETTINGS = [
    "lm.architecture.n_head=4", "head.num_pooling_heads=2", "head.num_inference_steps=10",
    "tokenizer.config.num_heads=2", "tokenizer.config.dropout=0.0", "lm.max_length=128", "prompt_style=train",
    "sample_latents=false", "guidance_scale=1.0",
]  # fmt: skip
RUBBISH = {
    "metrics.TM2TMetrics.t2m_textencoder.w": torch.ones(3), "_losses.losses_train.total": torch.tensor(0.0),
    "lm.language_model.transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4),
}  # fmt: skip


def published_vae(vae: MotionVAE, prefix: str = "vae.") -> dict[str, Tensor]:
    return {prefix + key: value for key, value in vae.network.state_dict().items()}


def published(model: MotionGPT3) -> dict[str, Tensor]:
    """The state dict of the published wrapper: VAE, language model with four text tables, heads."""
    state = published_vae(model.tokenizer)
    for key, value in model.language_model.state_dict().items():
        state[f"lm.language_model.{key}"] = value
    state |= {f"lm.language_model.{name}": state[TABLE].clone() for name in COPIES}
    state |= {f"lm.motion_und_head.{key}": value for key, value in model.motion_und_head.state_dict().items()}
    state |= {f"lm.diffloss.net.{key}": value for key, value in model.diffloss.net.state_dict().items()}
    if model.config.condition_norm:
        state |= {f"lm.norm_layer.{key}": value for key, value in model.norm_layer.state_dict().items()}
        state["lm.diffusion_pos_embed_learned"] = model.diffusion_pos_embed_learned.detach()
    return state | {"lm.fake_latent": model.fake_latent.detach()}


def write(path: Path, state: dict[str, Tensor], layout: str = "lightning") -> Path:
    """lightning: with rubbish and OmegaConf objects, as it is saved in training; nested; plain."""
    content = OrderedDict(state)
    if layout == "lightning":
        config = OmegaConf.create({"model": {"lr": 1e-4, "list": [1, 2]}})
        content = {"state_dict": OrderedDict(content | RUBBISH), "hyper_parameters": config, "epoch": 3}
    elif layout == "nested":
        content = {"state_dict": {"state_dict": content}, "epoch": 3}
    torch.save(content, path)
    return path


def write_statistics(folder: Path, vae: MotionVAE) -> Path:
    Normalizer(vae.feature_mean, vae.feature_std).save(folder)
    return folder


def source(seed: int = 0, **config) -> MotionGPT3:
    """A model to publish: its fake_latent is trained, its VAE has the published scale and data set statistics."""
    model = tiny_motiongpt3(seed, tiny_vae(seed, latent_scale=0.8457, normalizer="data"), **config)
    model.tokenizer.config.normalizer = "data"
    torch.nn.init.normal_(model.fake_latent)
    return model


def changed(state: dict[str, Tensor], changes: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """`state` with tensors put in, or left out where the change is None."""
    return {key: value for key, value in (state | changes).items() if value is not None}


