"""Convolutions that look back alone, in a whole clip or piece by piece (MotionStreamer spec 2.1, 2.7).

What a convolution needs of the past is the last columns of its own input; at the start of a clip these are zeros. So a
clip in pieces is the same as the clip at once: the columns are handed from piece to piece (`Flow.held`). Layers take
hidden rows (B, C, T) and the `Flow` that goes along with them.
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
            held = None if self._held is None else self._held[len(self._new)]
            x = F.pad(x, (span - stride, 0)) if held is None else torch.cat((held.to(x), x), -1)
        made = max(0, (x.shape[-1] - span) // stride + 1)
        if span > 1:
            self._new.append(x[..., made * stride :])
        return conv(x) if made else x.new_zeros(len(x), conv.out_channels, 0)

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


class CausalEncoder(nn.Module):
    """Frames (B, D, T) -> hidden (B, W, T // 2**down)."""

    def __init__(self, features: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [nn.Sequential(CausalConv1d(width, width, 4, 2), CausalResnet(width, **resnet)) for _ in range(down)]
        first, last = CausalConv1d(features, width, 3), CausalConv1d(width, width, 3)
        self.model = nn.Sequential(first, nn.ReLU(), *stages, last)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        first, activation, *stages, last = self.model
        x = activation(first(x, flow))
        for conv, resnet in stages:
            x = conv(x, flow)
            flow.halve()
            x = resnet(x, flow)
        return last(x, flow)


class CausalDecoder(nn.Module):
    """Hidden (B, W, L) -> frames (B, D, L * 2**down)."""

    def __init__(self, features: int, width: int, down: int, resnet: dict) -> None:
        super().__init__()
        stages = [
            nn.Sequential(CausalResnet(width, **resnet), nn.Upsample(scale_factor=2), CausalConv1d(width, width, 3))
            for _ in range(down)
        ]
        first, near_last, last = (CausalConv1d(width, out, 3) for out in (width, width, features))
        self.model = nn.Sequential(first, nn.ReLU(), *stages, near_last, nn.ReLU(), last)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        first, activation, *stages, near_last, last_activation, last = self.model
        x = activation(first(x, flow))
        for resnet, upsample, conv in stages:
            x = upsample(resnet(x, flow))
            flow.double()
            x = conv(x, flow)
        return last(last_activation(near_last(x, flow)), flow)


def nothing_held(network: nn.Module, rows: int, device: torch.device) -> Held:
    """What is held before the first piece: zeros. network: an encoder or decoder, whose convolutions stand in the order
    in which they run; those that see one column hold nothing."""
    found = []
    for conv in (module for module in network.modules() if isinstance(module, nn.Conv1d)):
        (size,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
        if size > 1:
            columns = (size - 1) * dilation + 1 - stride
            found.append(torch.zeros(rows, conv.in_channels, columns, device=device))
    return tuple(found)
