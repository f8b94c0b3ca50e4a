"""Convolutions that look back alone, in a whole clip or piece by piece (MotionStreamer spec 2.1, 2.7).

What a convolution needs of the past is the last columns of its own input; at the start of a clip these are zeros. So a
clip in pieces is the same as the clip at once: the columns are handed from piece to piece (`Flow.joined`, `Flow.keep`).
Layers take hidden rows (B, C, T) and the `Flow` that goes along with them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.models.tokenizers.resnet import make_activation, make_norm

Held = tuple[Tensor, ...]  # per convolution, in the order in which they run: the last columns (B, C, columns) it saw


class Flow:
    """mask (B, 1, T): real frames, which only norms that mix frames ask for. held: of the piece before; none at the
    start. `new`: what the next piece needs."""

    def __init__(self, mask: Tensor, held: Held | None = None) -> None:
        self.mask, self._held = mask, held
        self._new: list[Tensor] = []

    @property
    def new(self) -> Held:
        return tuple(self._new)

    def run(self, conv: nn.Conv1d, x: Tensor) -> Tensor:
        """A convolution over x (B, C, T) and the columns before it: (B, C', T / stride)."""
        (size,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
        span = (size - 1) * dilation + 1
        if span > 1:
            x = self.joined(x, span - stride)
        made = max(0, (x.shape[-1] - span) // stride + 1)
        if span > 1:
            self.keep(x[..., made * stride :])
        return conv(x) if made else x.new_zeros(len(x), conv.out_channels, 0)

    def joined(self, x: Tensor, columns: int) -> Tensor:
        """x (B, C, T) with what is held of its past before it: so many columns, zeros at the start of a clip."""
        held = None if self._held is None else self._held[len(self._new)]
        return F.pad(x, (columns, 0)) if held is None else torch.cat((held.to(x), x), -1)

    def keep(self, columns: Tensor) -> None:
        """What the next piece needs of the rows that were just joined."""
        self._new.append(columns)

    def norm(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x, self.mask)

    def halve(self) -> None:
        """Go on at half the frame rate; a frame there is real when both of its frames are."""
        self.mask = self.mask[..., 1::2]

    def double(self) -> None:
        """Go on at twice the frame rate."""
        self.mask = self.mask.repeat_interleave(2, -1)


class CausalConv1d(nn.Module):
    """A convolution padded on the left alone."""

    def __init__(self, channels: int, out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, size, stride)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        return flow.run(self.conv, x)


class CausalBlock(nn.Module):
    """norm -> act -> dilated causal conv -> norm -> act -> 1x1 conv -> + input."""

    def __init__(self, width: int, dilation: int, activation: str, norm: str | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = make_norm(norm, width), make_norm(norm, width)
        self.activation1, self.activation2 = make_activation(activation), make_activation(activation)
        self.conv1 = nn.Conv1d(width, width, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        hidden = flow.run(self.conv1, self.activation1(flow.norm(self.norm1, x)))
        return x + flow.run(self.conv2, self.activation2(flow.norm(self.norm2, hidden)))


class CausalResnet(nn.Module):
    """Residual blocks, largest dilation first (9, 3, 1) in encoder and decoder alike."""

    def __init__(self, width: int, depth: int, growth: int, activation: str, norm: str | None) -> None:
        super().__init__()
        dilations = [growth**i for i in reversed(range(depth))]
        self.model = nn.Sequential(*(CausalBlock(width, d, activation, norm) for d in dilations))

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        for block in self.model:
            x = block(x, flow)
        return x


class CausalDown(nn.Sequential):
    """Halve the frame rate, then refine."""

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        conv, resnet = self
        x = conv(x, flow)
        flow.halve()
        return resnet(x, flow)


class CausalUp(nn.Sequential):
    """Refine, then double the frame rate."""

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        resnet, upsample, conv = self
        x = upsample(resnet(x, flow))
        flow.double()
        return conv(x, flow)


class CausalEncoder(nn.Module):
    """Frames (B, D, T) -> hidden (B, C, T // 2**down)."""

    def __init__(self, features: int, out: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [CausalDown(CausalConv1d(width, width, 4, 2), CausalResnet(width, **resnet)) for _ in range(down)]
        first, last = CausalConv1d(features, width, 3), CausalConv1d(width, out, 3)
        self.model = nn.Sequential(first, nn.ReLU(), *stages, last)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        first, activation, *stages, last = self.model
        x = activation(first(x, flow))
        for stage in stages:
            x = stage(x, flow)
        return last(x, flow)


class CausalDecoder(nn.Module):
    """Hidden (B, C, L) -> frames (B, D, L * 2**down)."""

    def __init__(self, features: int, code_dim: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [
            CausalUp(CausalResnet(width, **resnet), nn.Upsample(scale_factor=2), CausalConv1d(width, width, 3))
            for _ in range(down)
        ]
        first, near_last, last = (
            CausalConv1d(before, after, 3) for before, after in ((code_dim, width), (width, width), (width, features))
        )
        self.model = nn.Sequential(first, nn.ReLU(), *stages, near_last, nn.ReLU(), last)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        first, activation, *stages, near_last, last_activation, last = self.model
        x = activation(first(x, flow))
        for stage in stages:
            x = stage(x, flow)
        return last(last_activation(near_last(x, flow)), flow)


def nothing_held(network: nn.Module, rows: int, device: torch.device) -> Held:
    """What is held before the first piece: zeros. network: an encoder or decoder, whose layers stand in the order in
    which they run; those that see one column hold nothing."""
    shapes = (_held_by(module) for module in network.modules())
    return tuple(torch.zeros(rows, *shape, device=device) for shape in shapes if shape[1])


def _held_by(module: nn.Module) -> tuple[int, int]:
    """Channels and columns of the past that a layer needs; a layer that is no convolution says it (`holds`)."""
    if not isinstance(module, nn.Conv1d):
        return getattr(module, "holds", (0, 0))
    (size,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    return module.in_channels, (size - 1) * dilation + 1 - stride if size > 1 else 0
