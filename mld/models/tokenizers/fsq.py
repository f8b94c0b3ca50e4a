"""Finite scalar quantization (Mentzer et al. 2023; MotionMillion spec 2.4): each number of a vector is rounded to one
of a few levels, and the levels together are a code. There is no codebook to learn, and none that could die.

Everything here is computed in float32 at least, whatever the precision of the rest: at 64,000 codes a half-precision
latent would fall beside its level.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.models.tokenizers.quantizers import Quantized, Quantizer

# Published name of a code size -> levels; most make fewer codes than the name says (65536: 64,000).
LEVELS: dict[int, tuple[int, ...]] = {
    256: (8, 6, 5), 512: (8, 8, 8), 1024: (8, 5, 5, 5), 2048: (8, 8, 6, 5), 4096: (7, 5, 5, 5, 5),
    16384: (8, 8, 8, 6, 5), 65536: (8, 8, 8, 5, 5, 5),
}  # fmt: skip
MOST_CODES = 2**24  # use is counted in a table of this size
MARGIN = 1e-3  # the outermost levels are reached before the tanh is at its end


def levels_of(name: int, levels: Sequence[int] = ()) -> tuple[int, ...]:
    """`levels` where they are given, else those of a published code size; `ConfigError` lists the sizes."""
    if not levels:
        if name not in LEVELS:
            sizes = ", ".join(map(str, LEVELS))
            raise ConfigError(f"no published code size {name}; known: {sizes}; or give levels, as levels=[8,6,5]")
        return LEVELS[name]
    if min(levels) < 2 or prod(levels) > MOST_CODES:
        raise ConfigError(
            f"levels {list(levels)}: each is a whole number from 2 on, and together they make at most {MOST_CODES}"
        )
    return tuple(levels)


class FSQ(Quantizer):
    """levels: of each number. width: of the vectors; where it is not the number of levels, one linear layer leads to
    them and one back."""

    def __init__(self, levels: Sequence[int], width: int) -> None:
        super().__init__(prod(levels), width)
        self.levels = tuple(levels)
        self.project_in = nn.Linear(width, len(levels)) if width != len(levels) else nn.Identity()
        self.project_out = nn.Linear(len(levels), width) if width != len(levels) else nn.Identity()
        sizes = torch.tensor(self.levels)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("basis", torch.cat((sizes.new_ones(1), sizes.cumprod(0)[:-1])), persistent=False)

    def project(self, x: Tensor) -> Tensor:
        """Hidden (B, C, L) -> latents (B, L, d), a number per level, not bounded."""
        return _linear(self.project_in, _exact(x).transpose(1, 2))

    def bound(self, latents: Tensor) -> Tensor:
        """Latents (..., d) between their outermost levels. An even number of levels has one more below 0 than above."""
        half = (self.sizes - 1).to(latents) * (1 + MARGIN) / 2
        offset = torch.where(self.sizes % 2 == 0, 0.5, 0.0).to(latents)
        return torch.tanh(latents + torch.atanh(offset / half)) * half - offset

    def steps(self, latents: Tensor) -> Tensor:
        """The level of each number, around 0: whole numbers, half to even, with the gradient of `bound`."""
        bounded = self.bound(latents)
        return bounded + (bounded.round() - bounded).detach()

    def index(self, steps: Tensor) -> Tensor:
        """Steps (..., d) -> codes (...) int64; the first number counts fastest."""
        return ((steps.round().long() + self.sizes // 2) * self.basis).sum(-1)

    def split(self, codes: Tensor) -> Tensor:
        """Codes (...) -> the level of each number, from 0 on, (..., d) int64."""
        return codes[..., None] // self.basis % self.sizes

    def scaled(self, steps: Tensor) -> Tensor:
        """Steps around 0 -> numbers between -1 and 1."""
        return steps / (self.sizes // 2).to(steps)

    def values(self, scaled: Tensor) -> Tensor:
        """Numbers between -1 and 1 (B, L, d) -> hidden (B, C, L)."""
        return _linear(self.project_out, scaled).transpose(1, 2)

    def codes(self, x: Tensor) -> Tensor:
        """Hidden (B, C, L) -> codes (B, L)."""
        with torch.autocast(x.device.type, enabled=False):
            return self.index(self.steps(self.project(x)))

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (B, L) -> hidden (B, C, L)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.values(self.scaled((self.split(codes) - self.sizes // 2).float()))

    def forward(self, x: Tensor, mask: Tensor) -> Quantized:
        """Quantize hidden (B, C, L); mask (B, L) says what counts for the use of codes. There is no commitment to
        lose: the loss is a constant 0."""
        with torch.autocast(x.device.type, enabled=False):
            steps = self.steps(self.project(x))
            codes, values = self.index(steps.detach()), self.values(self.scaled(steps))
        return Quantized(values, codes, values.new_zeros(()), *self.use(codes[mask]))


def _exact(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _linear(layer: nn.Module, x: Tensor) -> Tensor:
    """A projection in the precision of x, float32 or more, whatever that of its weights."""
    if isinstance(layer, nn.Identity):
        return x
    return F.linear(x, layer.weight.to(x), layer.bias.to(x))
