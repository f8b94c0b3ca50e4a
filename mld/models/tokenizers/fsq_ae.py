"""The tokenizer of MotionMillion: a convolutional auto-encoder whose latents are rounded to codes (spec 2).

Raw features go in and come out. Module names are the published ones, apart from the patcher, which has no weights.
Long clips go through in pieces that together are the whole, so memory does not grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import Tensor

from mld.errors import ConfigError
from mld.example import FeatureBatch
from mld.models.contracts.network import Parts
from mld.models.contracts.published import PublishedTest
from mld.models.contracts.tokens import TokenLayout
from mld.models.sizes import check_sizes
from mld.models.tokenizers import pieces
from mld.models.tokenizers.causal_conv import CausalDecoder, CausalEncoder, Flow
from mld.models.tokenizers.causal_stream import CausalStream
from mld.models.tokenizers.frame_attention import attend_in_decoder, attend_in_encoder
from mld.models.tokenizers.fsq import FSQ, levels_of
from mld.models.tokenizers.haar import Patcher
from mld.models.tokenizers.normalized import NormalizedTokenizer
from mld.models.tokenizers.quantizers import Quantized
from mld.models.tokenizers.resnet import Decoder, Encoder

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

MIXING = ("GN", "BN")  # norms over frames: a causal network that has one looks ahead all the same


@dataclass
class FSQAEConfig:
    """Defaults are the published sizes (11.35 M parameters, a code per 2 frames).

    codes: published name of a number of codes, of which 65536 means 64,000; levels: others, as [8, 6, 5].
    down: halvings of the frame rate, on top of patch_size, the frames that the network takes as one (1, as in all
    published weights, changes nothing); patch_method: haar, for powers of two, or rearrange. norm: null, LN, GN or BN.
    causal: a frame follows from what came before, so motion streams. attention: between convolutions, of a head, over
    attention_window entries to a side; 0 for the whole clip, which is then made at once.
    piece: tokens of a long clip that are made at a time; 0 for all.
    steady, fixed_bones: what decoded features go through (`NormalizedTokenizer`)."""

    representation: str = "motion272"
    codes: int = 65536
    levels: list[int] = field(default_factory=list)
    code_dim: int = 512
    width: int = 512
    down: int = 1
    depth: int = 3
    dilation_growth_rate: int = 3
    activation: str = "relu"
    norm: str | None = "LN"
    patch_size: int = 1
    patch_method: str = "haar"
    causal: bool = False
    attention: bool = False
    attention_window: int = 64
    piece: int = 2048
    steady: bool = False
    fixed_bones: bool = False
    normalizer: str = "identity"  # kind of statistics in the buffers

    def __post_init__(self) -> None:
        check_sizes(
            self, ("code_dim", "width", "depth", "dilation_growth_rate", "patch_size"),
            optional=("down", "attention_window", "piece"),
        )  # fmt: skip


class FSQAE(NormalizedTokenizer, family="fsq_ae"):
    """config: `FSQAEConfig`. normalizer: statistics of the training data; None keeps features as they are."""

    Config = FSQAEConfig
    published_test = PublishedTest(2, min_frames=96)
    loss_weights: ClassVar[dict[str, float]] = {
        "recons_feature": 1.0, "recons_position": 0.5, "recons_root": 0.0, "recons_velocity": 0.0,
        "recons_acceleration": 0.0,
    }  # fmt: skip

    def __init__(self, config: FSQAEConfig, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        levels = levels_of(config.codes, config.levels)
        self.patcher = Patcher(config.patch_size, config.patch_method)
        self.quantizer = FSQ(levels, config.code_dim)
        self.layout = TokenLayout(
            codebook_size=self.quantizer.codebook_size, frames_per_token=config.patch_size * 2**config.down,
            causal=config.causal and config.norm not in MIXING,
        )  # fmt: skip
        self._check_finish(self.layout.causal)
        resnet = {
            "depth": config.depth, "growth": config.dilation_growth_rate, "activation": config.activation,
            "norm": config.norm,
        }  # fmt: skip
        sizes = (self.width * config.patch_size, config.code_dim, config.width, config.down, resnet)
        self.encoder = (CausalEncoder if config.causal else Encoder)(*sizes)
        self.decoder = (CausalDecoder if config.causal else Decoder)(*sizes)
        if config.attention:
            if config.down == 0:
                raise ConfigError("attention stands after the stages of the network: with down 0 there are none")
            between = (config.width, config.activation, config.norm, config.attention_window)
            attend_in_encoder(self.encoder, *between)
            attend_in_decoder(self.decoder, *between)

    @classmethod
    def restore(cls, config: FSQAEConfig, parts: Parts, folder: Path | None = None) -> FSQAE:
        return cls(config)

    @property
    def reach(self) -> tuple[pieces.Reach, pieces.Reach] | None:
        """What a token depends on, in frames, and what its frames depend on, in tokens; None for the whole clip."""
        c = self.config
        if c.norm == "GN" or (c.attention and not c.attention_window):
            return None
        dilations = [c.dilation_growth_rate**i for i in range(c.depth)]
        sizes = (c.down, dilations, c.causal, c.attention_window if c.attention else 0)
        return pieces.encoder_reach(*sizes, patch=c.patch_size), pieces.decoder_reach(*sizes)

    def hidden(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised frames (B, T, D) and mask (B, T) -> hidden (B, C, L) before rounding and mask (B, L)."""
        real = self.patcher.mask(mask)[:, None]
        x = self.patcher.patch(frames.masked_fill(~mask[..., None], 0.0).transpose(1, 2))
        if not self.config.causal:
            x, real = self.encoder(x, real)
            return x, real[:, 0]
        flow = Flow(real)
        return self.encoder(x.masked_fill(~real, 0.0), flow), flow.mask[:, 0]

    def rebuilt(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Rounded hidden (B, C, L) and mask (B, L) -> normalised frames (B, L * frames_per_token, D)."""
        real = mask[:, None]
        x = hidden.masked_fill(~real, 0.0)
        x = self.decoder(x, Flow(real)) if self.config.causal else self.decoder(x, real)
        return self.patcher.unpatch(x).transpose(1, 2)

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (B, T, D), mask (B, T) -> codes (B, L) int64 (0 where masked) and their mask (B, L). Frames
        beyond a whole number of codes have none."""
        count = self.layout.count(features.shape[1])
        if not count:
            return mask[:, :0].long(), mask[:, :0]
        if self._pieces(count):
            unit, (reach, _) = self.layout.frames_per_token, self.reach
            return pieces.encoded(self._encode, features, mask, unit, self.config.piece, reach)
        return self._encode(features, mask)

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        """Codes (B, L), mask (B, L) -> raw features (B, L * frames_per_token, D). Codes outside the mask do not
        matter."""
        if not tokens.shape[1]:
            return self.feature_mean.new_zeros(len(tokens), 0, self.width)
        if self._pieces(tokens.shape[1]):
            unit, (_, reach) = self.layout.frames_per_token, self.reach
            made = pieces.decoded(self._decode, tokens, mask, unit, self.config.piece, reach)
        else:
            made = self._decode(tokens, mask)
        return self.finish(made, mask.repeat_interleave(self.layout.frames_per_token, 1))

    def _pieces(self, tokens: int) -> bool:
        return 0 < self.config.piece < tokens and self.reach is not None and not self.training

    def _encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden, kept = self.hidden(self.normalize(features), mask)
        return self.quantizer.codes(hidden).masked_fill(~kept, 0), kept

    def _decode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.denormalize(self.rebuilt(self.looked_up(tokens.masked_fill(~mask, 0)), mask))

    def looked_up(self, tokens: Tensor) -> Tensor:
        """Codes (B, L) -> hidden (B, C, L), in the precision of the network; `DataError` for one that is none."""
        return self.quantizer.lookup(self.quantizer.known(tokens)).to(next(self.decoder.parameters()).dtype)

    def read(self, frames: Tensor, flow: Flow) -> Tensor:
        """Normalised frames (B, T, D), a multiple of the patch -> the codes (B, l) that they complete."""
        return self.quantizer.codes(self.encoder(self.patcher.patch(frames.transpose(1, 2)), flow))

    def generate(self, tokens: Tensor, flow: Flow) -> Tensor:
        """Codes (B, l) -> normalised frames (B, T, D), from the past in `flow`."""
        return self.patcher.unpatch(self.decoder(self.looked_up(tokens), flow)).transpose(1, 2)

    def stream(self, rows: int = 1) -> CausalStream:
        """Encoder and decoder for motions that come in pieces, one per row; `TypeError` where later frames, or an
        unbounded past, would be needed."""
        if not self.config.causal:
            return super().stream(rows)
        if not self.layout.causal:
            raise TypeError(f"norm {self.config.norm} looks at later frames; such a tokenizer does not stream")
        if self.reach is None:
            raise TypeError("attention to the whole past would have to be kept; give attention_window to stream")
        return CausalStream(self, rows, self.config.patch_size)

    def reconstruct(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Quantized]:
        """Normalised frames (B, T, D), mask (B, T) -> frames (B, L * frames_per_token, D), their mask, and codes."""
        hidden, kept = self.hidden(frames, mask)
        quantized = self.quantizer(hidden, kept)
        made = self.rebuilt(quantized.values.to(hidden.dtype), kept)
        return made, kept.repeat_interleave(self.layout.frames_per_token, 1), quantized

    def loss(self, batch: FeatureBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Smooth L1 (beta 1) of all features and again of the local joint positions, as published (where it is called
        "velocity"); optional, with weight 0 as published, of the root and of first and second differences of the
        positions. Padding does not count. Rounding loses nothing that could be a loss of its own."""
        target = self.normalize(batch.features)
        made, real, quantized = self.reconstruct(target, batch.mask)
        target = target[:, : made.shape[1]]
        moved, wanted = made[..., self.positions], target[..., self.positions]
        losses = self.smooth_errors(made[real], target[real])
        for name, order in (("recons_velocity", 1), ("recons_acceleration", 2)):
            both = real[:, order:]
            got, want = moved.diff(n=order, dim=1)[both], wanted.diff(n=order, dim=1)[both]
            losses[name] = F.smooth_l1_loss(got, want, reduction="sum") / max(1, got.numel())  # a clip may be too short
        losses |= self.body_losses(made, target, real)
        return {**losses, "monitor/perplexity": quantized.perplexity, "monitor/usage": quantized.usage}
