"""The convolutional encoder and decoder of the VQ-VAE, aware of padding.

Every layer that adds a bias is followed by setting masked frames to zero, which is what a convolution sees beyond the
end of a clip. So a padded row gives exactly what it gives alone. Module names follow the published state dict
(`model.2.1.model.0.conv1.weight`, MotionGPT spec 2.4), therefore layers sit in `nn.Sequential` by number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mld.errors import ConfigError

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class NoNorm(nn.Module):
    """The published default: no norm layer, and no key in the state dict."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, T), frame by frame."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch norm over the real frames of (B, C, T)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        frames, real = x.transpose(1, 2), mask[:, 0]
        normed = torch.zeros_like(frames)
        normed[real] = super().forward(frames[real])
        return normed.transpose(1, 2)


class ClipGroupNorm(nn.GroupNorm):
    """Group norm over the real frames of each row of (B, C, T)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        groups = silence(x, mask).unflatten(1, (self.num_groups, -1))
        size = mask.sum(-1).clamp(min=1)[..., None, None] * groups.shape[2]
        mean = groups.sum((2, 3), keepdim=True) / size
        centred = (groups - mean) * mask[:, None]
        variance = centred.square().sum((2, 3), keepdim=True) / size
        normed = (centred * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        return normed * self.weight[:, None] + self.bias[:, None]


def make_norm(kind: str | None, width: int) -> nn.Module:
    """`None`, "LN" (channels), "GN" (32 groups) or "BN"; called with (B, C, T) and mask (B, 1, T) (spec 2.1)."""
    if kind is None:
        return NoNorm()
    if kind == "LN":
        return ChannelLayerNorm(width)
    if kind == "BN":
        return FrameBatchNorm(width, eps=1e-6)
    if kind == "GN":
        if width % 32:
            raise ConfigError(f"vqvae norm 'GN' has 32 groups; width {width} is not a multiple of 32")
        return ClipGroupNorm(32, width, eps=1e-6)
    raise ConfigError(f"vqvae norm '{kind}' is not one of null, LN, GN, BN")


def make_activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ConfigError(f"vqvae activation '{name}' is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def silence(x: Tensor, mask: Tensor) -> Tensor:
    """x (B, C, T) with the frames outside mask (B, 1, T) set to zero."""
    return x.masked_fill(~mask, 0.0)


class ResidualBlock(nn.Module):
    """act -> dilated conv -> act -> 1x1 conv -> + input."""

    def __init__(self, width: int, dilation: int, activation: str, norm: str | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = make_norm(norm, width), make_norm(norm, width)
        self.activation1, self.activation2 = make_activation(activation), make_activation(activation)
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = self.conv1(silence(self.activation1(self.norm1(x, mask)), mask))
        return silence(x + self.conv2(self.activation2(self.norm2(hidden, mask))), mask)


class Resnet1D(nn.Module):
    """Residual blocks, largest dilation first (9, 3, 1) in encoder and decoder alike."""

    def __init__(self, width: int, depth: int, growth: int, activation: str, norm: str | None) -> None:
        super().__init__()
        dilations = [growth**i for i in reversed(range(depth))]
        self.model = nn.ModuleList(ResidualBlock(width, d, activation, norm) for d in dilations)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.model:
            x = block(x, mask)
        return x


class DownStage(nn.Sequential):
    """Halve the frame rate, then refine. A length T becomes floor(T / 2)."""

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        conv, resnet = self
        mask = mask[..., 1::2]
        return resnet(silence(conv(x), mask), mask), mask


class UpStage(nn.Sequential):
    """Refine, then double the frame rate."""

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        resnet, upsample, conv = self
        mask = mask.repeat_interleave(2, dim=-1)
        return silence(conv(upsample(resnet(x, mask[..., ::2]))), mask), mask


class Encoder(nn.Module):
    """Normalised features (B, D, T) and mask (B, 1, T) -> hidden (B, C, T // 2**down) and its mask."""

    def __init__(self, features: int, out: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [DownStage(nn.Conv1d(width, width, 4, 2, 1), Resnet1D(width, **resnet)) for _ in range(down)]
        self.model = nn.Sequential(
            nn.Conv1d(features, width, 3, padding=1), nn.ReLU(), *stages, nn.Conv1d(width, out, 3, padding=1)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first, activation, *stages, last = self.model
        x = silence(activation(first(silence(x, mask))), mask)
        for stage in stages:
            x, mask = stage(x, mask)
        return silence(last(x), mask), mask


class Decoder(nn.Module):
    """Codes (B, C, L) and mask (B, 1, L) -> normalised features (B, D, L * 2**down)."""

    def __init__(self, features: int, code_dim: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [
            UpStage(Resnet1D(width, **resnet), nn.Upsample(scale_factor=2), nn.Conv1d(width, width, 3, padding=1))
            for _ in range(down)
        ]
        self.model = nn.Sequential(
            nn.Conv1d(code_dim, width, 3, padding=1), nn.ReLU(), *stages,
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, features, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        first, activation, *stages, conv, last_activation, last = self.model
        x = silence(activation(first(silence(x, mask))), mask)
        for stage in stages:
            x, mask = stage(x, mask)
        x = silence(last_activation(conv(x)), mask)
        return silence(last(x), mask)
