"""The motion VAE of MLD and MotionGPT3: a clip of any length is one latent, or a few (MotionGPT3 spec 1).

Latents leave and enter multiplied by `latent_scale`, a buffer that is saved with the weights, so that whoever models
them sees numbers of about unit size. Published weights use 0.8457; a new tokenizer measures its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import ConfigError
from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.tokens import TokenLayout
from mld.models.gaussian import Gaussian
from mld.models.sizes import check_sizes
from mld.models.tokenizers.normalized import NormalizedTokenizer
from mld.models.tokenizers.skip_transformer import SkipVAE
from mld.models.tokenizers.spectral_vae import SpectralVAE

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

PUBLISHED_SCALE = 0.8457  # 1 / std of the latents of the published HumanML3D weights (Motion-X: 0.7281)
UNIT = 4  # frames to whose multiples clips are cut, as in the published training
SCALE_RATE = 0.01  # of the running measurement of latent_scale, per training step

OF_SKIP_VAE = {"norm_first": False, "position_encoding": "learned", "separate_logvar": True}  # and their defaults


@dataclass
class MotionVAEConfig:
    """latent_channels (also the width of the transformers) times tokens_per_clip numbers describe a clip. num_layers is
    odd. position_encoding: "learned" (`mld`) or "sinusoidal" (`actor`). separate_logvar false is MLD's MLP_DIST. patch:
    frames per position of the transformers, 1 as published. max_positions, times patch, bounds the frames of a clip.
    frequencies: 0 as published; otherwise one latent packs so many cosines of each feature (`SpectralVAE`), which takes
    minutes to train instead of days; num_layers and a `width` of its own are then the decoder's. latent_scale: fixed
    factor, none to measure it in training. steady, fixed_bones: what decoded features go through
    (`NormalizedTokenizer`)."""

    representation: str = "humanml3d"
    latent_channels: int = 256
    tokens_per_clip: int = 1
    ff_size: int = 1024
    num_layers: int = 9
    num_heads: int = 4
    dropout: float = 0.1
    activation: str = "gelu"
    norm_first: bool = False
    position_encoding: Literal["learned", "sinusoidal"] = "learned"
    separate_logvar: bool = True
    patch: int = 1
    frequencies: int = 0
    width: int | None = None
    max_positions: int = 500
    latent_scale: float | None = None
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"  # kind of statistics in the buffers

    def __post_init__(self) -> None:
        sizes = ("latent_channels", "tokens_per_clip", "ff_size", "num_layers", "num_heads", "patch", "max_positions")
        check_sizes(self, sizes, shares=("dropout",), optional=("frequencies",))


class MotionVAE(NormalizedTokenizer, family="vae"):
    """config: `MotionVAEConfig`. normalizer: statistics of the training data; None keeps features as they are."""

    Config = MotionVAEConfig
    loss_weights: ClassVar[dict[str, float]] = {
        "recons_feature": 1.0, "recons_position": 0.5, "recons_root": 0.0, "kl_loss": 1e-5,
    }  # fmt: skip

    def __init__(self, config: MotionVAEConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        self.network = _network(config, self.width)
        self.layout = TokenLayout(
            channels=config.latent_channels, tokens_per_clip=config.tokens_per_clip, longest=self.network.longest,
            unit=UNIT,
        )  # fmt: skip
        self.register_buffer("latent_scale", torch.tensor(config.latent_scale or 1.0))

    @classmethod
    def restore(cls, config: MotionVAEConfig, parts: Parts, folder: Path | None = None) -> MotionVAE:
        return cls(config)

    def measure(self, clips: Iterable[Tensor]) -> None:
        """What a new tokenizer has to know of its training clips, raw features (T, D), besides their statistics."""
        if isinstance(self.network, SpectralVAE):
            self.network.measure(self.normalize(clip) for clip in clips)

    def posterior(self, features: Tensor, mask: Tensor) -> Gaussian:
        """Raw features (B, T, D), mask (B, T) -> distribution of the unscaled latents (B, S, C)."""
        return self.network.encode(self.normalize(features).masked_fill(~mask[..., None], 0.0), mask)

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents as they leave: times `latent_scale`."""
        return latents * self.latent_scale

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> scaled means of the latents (B, S, C) and a mask of ones (B, S)."""
        latents = self.scaled(self.posterior(features, mask).mu)
        return latents, mask.new_ones(latents.shape[:2])

    def stored(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Posteriors (B, 2, S, C) of the unscaled latents, float32 whatever surrounds it, and a mask of ones (B, S)."""
        with torch.autocast(features.device.type, enabled=False):
            found = self.posterior(features.float(), mask)
        return torch.stack((found.mu, found.logvar), 1).float(), mask.new_ones(found.mu.shape[:2])

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Scaled latents (B, S, C), their mask (not read: a clip has all of them) and wanted frames (B, T) -> raw
        features (B, T, D). `ValueError` without frames."""
        if frames is None:
            raise ValueError("a latent does not say how many frames it stands for: give `frames` (B, T)")
        return self.finish(self.denormalize(self.network.decode(tokens / self.latent_scale, frames)), frames)

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Smooth L1 (beta 1) over real frames of all features, of the local joint positions (called "velocity" in the
        published code, spec 1.6) and of the root; KL to the standard normal, mean over all numbers.

        The published loss also averages over padding, which only lowers it."""
        target = self.normalize(batch.features).masked_fill(~batch.mask[..., None], 0.0)
        posterior = self.network.encode(target, batch.mask)
        noise = torch.randn_like(posterior.mu) if self.training else torch.zeros_like(posterior.mu)
        latents = posterior.sample(noise)
        rebuilt = self.network.decode(latents, batch.mask)
        got, want = rebuilt[batch.mask], target[batch.mask]
        mu, logvar = posterior.mu.float(), posterior.logvar.float()
        if self.training and self.config.latent_scale is None:
            self._measure(latents.detach())
        return {
            "recons_feature": F.smooth_l1_loss(got, want),
            "recons_position": F.smooth_l1_loss(got[:, self.positions], want[:, self.positions]),
            "recons_root": F.smooth_l1_loss(got[:, self.root], want[:, self.root]),
            "kl_loss": 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(),
            **self.body_losses(rebuilt, target, batch.mask),
            "monitor/latent_std": latents.detach().float().square().mean().sqrt(),
        }

    @torch.no_grad()
    def _measure(self, latents: Tensor) -> None:
        """Let `latent_scale` follow 1 / (root mean square of the latents)."""
        size = latents.float().square().mean().sqrt().clamp(min=1e-6)
        self.latent_scale.lerp_(1 / size, SCALE_RATE)


def _network(config: MotionVAEConfig, nfeats: int) -> SkipVAE | SpectralVAE:
    width = config.width or config.latent_channels
    if config.frequencies and config.tokens_per_clip != 1:
        raise ConfigError("vae: with frequencies a clip is one latent; set tokenizer.tokens_per_clip=1")
    if config.frequencies and (unused := [name for name in OF_SKIP_VAE if getattr(config, name) != OF_SKIP_VAE[name]]):
        raise ConfigError(f"vae: {', '.join(unused)} have no meaning with frequencies; leave them out")
    if config.frequencies:
        return SpectralVAE(
            nfeats, config.latent_channels, config.frequencies, width, config.ff_size, config.num_layers,
            config.num_heads, config.dropout, config.activation, config.max_positions, config.patch,
        )  # fmt: skip
    if width != config.latent_channels:
        raise ConfigError("vae: without frequencies the width is that of the latents; leave tokenizer.width out")
    return SkipVAE(
        nfeats, config.tokens_per_clip, config.latent_channels, config.ff_size, config.num_layers, config.num_heads,
        config.dropout, config.activation, config.norm_first, config.position_encoding, config.max_positions,
        config.separate_logvar, config.patch,
    )  # fmt: skip
