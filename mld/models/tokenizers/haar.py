"""Several frames as one with as many times the channels: Haar wavelets or plain rearrangement (MotionMillion spec 2.3).

The published scale is kept: a level of the wavelet halves once more than an orthonormal one, and its inverse doubles.
The published code floors sizes that are no power of two, and breaks above 1. Here every size works; wavelets, which
halve, have powers of two alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.errors import ConfigError

METHODS = ("haar", "rearrange")
SCALE = 0.5**0.5


class Patcher:
    """size: frames in one, for `haar` a power of two; 1 changes nothing. method: one of `METHODS`."""

    def __init__(self, size: int, method: str = "haar") -> None:
        if method not in METHODS:
            raise ConfigError(f"patch_method '{method}' is not one of {', '.join(METHODS)}")
        if size < 1 or (method == "haar" and size & (size - 1)):
            other = "" if size < 1 else "; patch_method=rearrange takes any size"
            raise ConfigError(f"patch_size is {size}, expected a power of two: 1, 2, 4, 8, ...{other}")
        self.size, self.method = size, method
        self.levels = size.bit_length() - 1

    def patch(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C * size, T // size). Frames beyond a multiple of the size are left out."""
        x = x[..., : x.shape[-1] // self.size * self.size]
        if self.method == "rearrange":
            return x.unflatten(-1, (-1, self.size)).transpose(2, 3).flatten(1, 2)
        for _ in range(self.levels):  # every level transforms all channels: a packet, not a pyramid
            even, odd = x[..., ::2], x[..., 1::2]
            x = torch.cat((even + odd, even - odd), 1) * (SCALE / 2)
        return x

    def unpatch(self, x: Tensor) -> Tensor:
        """(B, C * size, L) -> (B, C, L * size)."""
        if self.method == "rearrange":
            return x.unflatten(1, (-1, self.size)).transpose(2, 3).flatten(2)
        for _ in range(self.levels):
            low, high = x.chunk(2, 1)
            x = torch.stack((low + high, low - high), -1).flatten(2) * (2 * SCALE)
        return x

    def mask(self, mask: Tensor) -> Tensor:
        """Mask (..., T) of frames -> (..., T // size): a patch is real when all its frames are."""
        return mask[..., self.size - 1 :: self.size]
