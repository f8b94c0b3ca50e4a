"""The VQ-VAE motion tokenizer of MotionGPT: 512 codes, one per 4 frames (MotionGPT spec 2).

Raw features go in and come out; the normalizer lives in two buffers. Inside, module names are the published ones
(`encoder.model...`, `quantizer.codebook`, `decoder.model...`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor

from mld.errors import ConfigError
from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.tokens import TokenLayout
from mld.models.tokenizers.normalized import NormalizedTokenizer
from mld.models.tokenizers.quantizers import make_quantizer
from mld.models.tokenizers.resnet import Decoder, Encoder

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer


@dataclass
class VQVAEConfig:
    """representation fixes the feature width. down_t halvings of the frame rate: 2 means 4 frames per code.
    ema_decay belongs to the ema quantizers, beta (weight of the commitment) to `orig`. reset_below (ema_reset): a code
    that wins fewer rows per batch is seated anew; 1 as published is meant for 8 codes in a batch for each of the
    codebook, and keeps most of a codebook from settling where batches are small. norm: null, LN, GN or BN.
    steady, fixed_bones: what decoded features go through (`NormalizedTokenizer`)."""

    representation: str = "humanml3d"
    quantizer: str = "ema_reset"
    codebook_size: int = 512
    code_dim: int = 512
    width: int = 512
    down_t: int = 2
    depth: int = 3
    dilation_growth_rate: int = 3
    activation: str = "relu"
    norm: str | None = None
    ema_decay: float = 0.99
    beta: float = 1.0
    reset_below: float = 1.0
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"  # kind of statistics in the buffers


class Reconstruction(NamedTuple):
    """features (B, L * frames_per_token, D) normalised, their mask, commitment_loss and perplexity (scalars)."""

    features: Tensor
    mask: Tensor
    commitment_loss: Tensor
    perplexity: Tensor


class VQVAE(NormalizedTokenizer, family="vqvae"):
    """config: `VQVAEConfig`. normalizer: statistics of the training data; None keeps features as they are."""

    Config = VQVAEConfig
    loss_weights: ClassVar[dict[str, float]] = {
        "recons_feature": 1.0, "recons_position": 0.5, "recons_root": 0.0, "commitment_loss": 0.02,
    }  # fmt: skip

    def __init__(self, config: VQVAEConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        if min(config.codebook_size, config.code_dim, config.width, config.down_t, config.depth) < 1:
            raise ConfigError("vqvae: codebook_size, code_dim, width, down_t and depth must be at least 1")
        self.layout = TokenLayout(codebook_size=config.codebook_size, frames_per_token=2**config.down_t)
        resnet = {
            "depth": config.depth, "growth": config.dilation_growth_rate,
            "activation": config.activation, "norm": config.norm,
        }  # fmt: skip
        self.encoder = Encoder(self.width, config.code_dim, config.width, config.down_t, resnet)
        self.quantizer = make_quantizer(
            config.quantizer, config.codebook_size, config.code_dim, config.ema_decay, config.beta, config.reset_below
        )
        self.decoder = Decoder(self.width, config.code_dim, config.width, config.down_t, resnet)

    @classmethod
    def restore(cls, config: VQVAEConfig, parts: Parts, folder: Path | None = None) -> VQVAE:
        return cls(config)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> codes (B, T // 4) int64 (0 where masked) and their mask.

        A mask keeps the first frames of a row. Frames beyond a multiple of 4 take part but get no code of their own."""
        hidden, mask = self.encoder(self.normalize(features).transpose(1, 2), mask[:, None])
        mask = mask[:, 0]
        return self.quantizer.codes(hidden).masked_fill(~mask, 0), mask

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Codes (B, L), mask (B, L) -> raw features (B, 4 L, D). Codes outside the mask are ignored; of those
        inside, `DataError` for one that the codebook does not have."""
        values = self.quantizer.lookup(self.quantizer.known(tokens.masked_fill(~mask, 0)))
        features = self.denormalize(self.decoder(values, mask[:, None]).transpose(1, 2))
        return self.finish(features, mask.repeat_interleave(self.layout.frames_per_token, dim=1))

    def reconstruct(self, features: Tensor, mask: Tensor) -> Reconstruction:
        """Normalised features (B, T, D), mask (B, T) through encoder, quantizer and decoder."""
        hidden, mask = self.encoder(features.transpose(1, 2), mask[:, None])
        quantized = self.quantizer(hidden, mask[:, 0])
        out = self.decoder(quantized.values, mask).transpose(1, 2)
        mask = mask[:, 0].repeat_interleave(self.layout.frames_per_token, dim=1)
        return Reconstruction(out, mask, quantized.commitment_loss, quantized.perplexity)

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Smooth L1 (beta 1) of all features and again of the local joint positions, both normalised; commitment.

        The published code calls the second term "velocity", but its channels are the positions (spec 2.5).
        `recons_root` (weight 0 as published) is the same for the four root channels alone: among all 263 they weigh so
        little that a briefly trained tokenizer does not learn to turn."""
        target = self.normalize(batch.features)
        result = self.reconstruct(target, batch.mask)
        got, want = result.features[result.mask], target[:, : result.mask.shape[1]][result.mask]
        return {
            **self.smooth_errors(got, want),
            "commitment_loss": result.commitment_loss,
            **self.body_losses(result.features, target[:, : result.mask.shape[1]], result.mask),
            "monitor/perplexity": result.perplexity,
        }
