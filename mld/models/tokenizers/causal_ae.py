"""The causal auto-encoder of MotionStreamer: a clip is a row of latents, each of which adds four frames (spec 2).

A latent and its frames follow from what came before alone, so motion is encoded and decoded while it comes in
(`stream`), with columns of a few convolutions as the only memory, and gives what it gives at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.tokens import TokenLayout
from mld.models.gaussian import Gaussian
from mld.models.sizes import check_sizes
from mld.models.tokenizers.causal_conv import CausalDecoder, CausalEncoder, Flow
from mld.models.tokenizers.causal_stream import CausalStream
from mld.models.tokenizers.normalized import NormalizedTokenizer

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

LOWEST = -6.0  # of log sigma in the losses, softly
MIXING = ("GN", "BN")  # norms over frames: what comes later changes what came before


@dataclass
class CausalAEConfig:
    """Defaults are the published sizes. latent_channels: of a latent. down: halvings of the frame rate: a latent is
    2**down frames. norm: null, LN (GN and BN look at later frames: a tokenizer that has one does not stream).
    log_variance: its bounds. sample_latents (compat): latents are drawn from their posterior wherever they are asked
    for, as the published code does; otherwise they are its mean. mean_losses: losses are means over numbers, not the
    published sums, whose size goes with batch and window (and, with the clipping of gradients, their effect).
    steady, fixed_bones: what decoded features go through (`NormalizedTokenizer`)."""

    representation: str = "motion272"
    latent_channels: int = 16
    width: int = 1024
    down: int = 2
    depth: int = 3
    dilation_growth_rate: int = 3
    activation: str = "relu"
    norm: str | None = None
    log_variance: list[float] = field(default_factory=lambda: [-30.0, 20.0])
    sample_latents: bool = False
    mean_losses: bool = False
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"  # kind of statistics in the buffers

    def __post_init__(self) -> None:
        check_sizes(self, ("latent_channels", "width", "depth", "dilation_growth_rate"), optional=("down",))


class CausalAE(NormalizedTokenizer, family="causal_ae"):
    """config: `CausalAEConfig`. normalizer: statistics of the training data; None keeps features as they are."""

    Config = CausalAEConfig
    loss_weights: ClassVar[dict[str, float]] = {"recons_feature": 1.0, "recons_root": 7.0, "kl_loss": 1.0}

    def __init__(self, config: CausalAEConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        resnet = {
            "depth": config.depth, "growth": config.dilation_growth_rate, "activation": config.activation,
            "norm": config.norm,
        }  # fmt: skip
        self.layout = TokenLayout(
            channels=config.latent_channels, frames_per_token=2**config.down, causal=config.norm not in MIXING
        )
        self._check_finish(self.layout.causal)
        self.encoder = CausalEncoder(self.width, config.width, config.width, config.down, resnet)
        self.posterior_proj = nn.Linear(config.width, 2 * config.latent_channels)
        self.decode_proj = nn.Linear(config.latent_channels, config.width)
        self.decoder = CausalDecoder(self.width, config.width, config.width, config.down, resnet)

    @classmethod
    def restore(cls, config: CausalAEConfig, parts: Parts, folder: Path | None = None) -> CausalAE:
        return cls(config)

    def posterior(self, frames: Tensor, flow: Flow) -> Gaussian:
        """Normalised frames (B, T, D) -> distribution of the latents (B, L, C)."""
        mu, logvar = self.posterior_proj(self.encoder(frames.transpose(1, 2), flow).transpose(1, 2)).chunk(2, -1)
        return Gaussian(mu, logvar.clamp(*self.config.log_variance))

    def generate(self, latents: Tensor, flow: Flow) -> Tensor:
        """Latents (B, L, C) -> normalised frames (B, T, D)."""
        return self.decoder(self.decode_proj(latents).transpose(1, 2), flow).transpose(1, 2)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> latents (B, L, C), means or draws as `sample_latents` says, and their
        mask (B, L). Frames beyond a whole number of latents have none."""
        flow = Flow(mask[:, None])
        found = self.posterior(self.normalize(features).masked_fill(~mask[..., None], 0.0), flow)
        latents = found.sample(torch.randn_like(found.mu)) if self.config.sample_latents else found.mu
        return latents, flow.mask[:, 0]

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Latents (B, L, C), mask (B, L) -> raw features (B, L * frames_per_token, D)."""
        made = self.denormalize(self.generate(tokens.masked_fill(~mask[..., None], 0.0), Flow(mask[:, None])))
        return self.finish(made, mask.repeat_interleave(self.layout.frames_per_token, 1))

    def read(self, frames: Tensor, flow: Flow) -> Tensor:
        """Normalised frames (B, T, D) -> latents (B, L, C), means."""
        return self.posterior(frames, flow).mu

    def stream(self, rows: int = 1) -> CausalStream:
        """Encoder and decoder for motions that come in pieces, one per row."""
        if not self.layout.causal:
            raise TypeError(f"norm {self.config.norm} looks at later frames; such a tokenizer does not stream")
        return CausalStream(self, rows)

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Negative log likelihood of all features and again of the root, each under one normal distribution whose sigma
        is the best for the batch (sigma-VAE, Rybkin et al. 2021), with the gradient through it; KL to the standard
        normal. Sums over numbers, the KL a mean over the batch, as published; padding does not count."""
        target = self.normalize(batch.features).masked_fill(~batch.mask[..., None], 0.0)
        flow = Flow(batch.mask[:, None])
        posterior = self.posterior(target, flow)
        noise = torch.randn_like(posterior.mu) if self.training else torch.zeros_like(posterior.mu)
        tokens = flow.mask[:, 0]
        rebuilt = self.generate(posterior.sample(noise), Flow(tokens[:, None]))
        kept = tokens.repeat_interleave(self.layout.frames_per_token, 1)
        error = (target[:, : rebuilt.shape[1]] - rebuilt)[kept]
        losses = {
            "recons_feature": likelihood_loss(error),
            "recons_root": likelihood_loss(error[:, self.root]),
            "kl_loss": divergence(posterior, tokens),
        }
        if self.config.mean_losses:
            share = 1 / error.numel()
            losses["kl_loss"] = losses["kl_loss"] * len(target)
            losses = {name: value * share for name, value in losses.items()}
        losses |= self.body_losses(rebuilt, target[:, : rebuilt.shape[1]], kept)
        return {
            **losses, "monitor/error": error.detach().float().square().mean().sqrt(),
            "monitor/latent_std": posterior.mu.detach()[tokens].float().std(),
        }  # fmt: skip


def likelihood_loss(error: Tensor) -> Tensor:
    """Minus the log likelihood of errors (any shape), summed, under a normal distribution about 0 whose sigma is their
    root mean square; its logarithm is softly kept above -6."""
    log_sigma = LOWEST + F.softplus(error.square().mean().sqrt().log() - LOWEST)
    return (0.5 * (error / log_sigma.exp()).square() + log_sigma + 0.5 * math.log(2 * math.pi)).sum()


def divergence(posterior: Gaussian, mask: Tensor) -> Tensor:
    """KL to the standard normal: sum over latents (mask (B, L)) and channels, mean over the batch."""
    mu, logvar = posterior
    return (-0.5 * (1 + logvar - mu.square() - logvar.exp()) * mask[..., None]).sum((1, 2)).mean()
