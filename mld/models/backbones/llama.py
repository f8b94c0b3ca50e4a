"""Decoder blocks of the LLaMA kind: RMS norm, rotary positions, SwiGLU, no biases (Touvron et al. 2023).

Shared by the families that write tokens in order (MotionStreamer spec 4.1). Module names are the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.models.backbones.kv_cache import RowCache
from mld.models.sizes import check_sizes

NORM_EPS = 1e-5
STEP = 256  # the hidden width of the MLP is a multiple of it
ANGLES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class LlamaConfig:
    """layers, heads, width: of the blocks. positions: of the longest row. qk_norm: queries and keys of length 1, before
    they are turned; attention_scale is then the fixed factor of their products, none for log2(positions^2 - positions)
    (without qk_norm it is one over the root of the head's width). rope_base: of the rotary frequencies. rope_dtype: in
    which angles are computed; bfloat16 repeats what becomes of them in a network that is trained wholly in it."""

    layers: int = 12
    heads: int = 12
    width: int = 768
    positions: int = 78
    qk_norm: bool = True
    attention_scale: float | None = None
    rope_base: float = 10000.0
    rope_dtype: str = "float32"

    def __post_init__(self) -> None:
        check_sizes(self, ("layers", "heads", "width", "positions"))
        if self.width % self.heads or self.width // self.heads % 2:
            raise ConfigError(f"width {self.width} is not {self.heads} heads of an even number of channels")
        if not self.rope_base > 1:
            raise ConfigError(f"rope_base is {self.rope_base}, expected a number above 1")
        if self.rope_dtype not in ANGLES:
            raise ConfigError(f"rope_dtype '{self.rope_dtype}' is not one of {', '.join(ANGLES)}")

    @property
    def scale(self) -> float:
        """The factor of queries times keys."""
        if self.attention_scale is not None:
            return self.attention_scale
        if not self.qk_norm:
            return (self.width // self.heads) ** -0.5
        return float(torch.tensor(self.positions**2 - self.positions, dtype=torch.float64).log2())


class RMSNorm(nn.Module):
    """x over its root mean square, times a learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.scale, NORM_EPS)


@dataclass(frozen=True)
class Rotation:
    """Angles of positions, as cosines and sines (B, 1, T, D / 2), for neighbouring pairs of channels."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Tensor, width: int, base: float, dtype: torch.dtype = torch.float32) -> Rotation:
        """positions (B, T) of heads of so many channels; in float32 whatever surrounds it. dtype bfloat16: angles are
        rounded to it at every step, and their cosines to half precision, as in published trainings."""
        exponents = torch.arange(0, width, 2, device=positions.device, dtype=dtype) / width
        if dtype == torch.float32:
            angles = positions[:, None, :, None].float() * base**-exponents
            return cls(angles.cos(), angles.sin())
        angles = (positions[:, None, :, None].to(dtype) * (1.0 / base**exponents)).float()
        return cls(angles.cos().half().float(), angles.sin().half().float())

    def turn(self, x: Tensor) -> Tensor:
        """x (..., B, H, T, D) -> the same shape."""
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), -1)
        return turned.flatten(-2).to(x.dtype)


@dataclass(frozen=True)
class Prefix:
    """First positions of rows that see each other, as attention of their own beside the causal one of all. length P: of
    the longest. within (B, 1, P, 1): which positions are of it. seen (B, 1, 1, P): the same as keys, at least one."""

    length: int
    within: Tensor
    seen: Tensor

    @classmethod
    def of(cls, sizes: Tensor, rows: int) -> Prefix:
        """sizes (B,), of rows so long."""
        length = min(int(sizes.max()), rows)
        places = torch.arange(length, device=sizes.device)
        within = places < sizes[:, None]
        return cls(length, within[:, None, :, None], (within | (places == 0))[:, None, None])


@dataclass(frozen=True)
class Place:
    """Where the new positions of a forward pass stand. mask (B, 1, T, S): what each looks at, none for what is before
    it. prefix: instead of a mask, which rules out the fastest kernels of GPUs. cache, rows (B,), positions (B, T):
    where keys and values are kept, none for nowhere; no rows: all there are."""

    rotation: Rotation
    mask: Tensor | None
    positions: Tensor
    cache: RowCache | None = None
    rows: Tensor | None = None
    prefix: Prefix | None = None

    def seen(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """New keys and values (B, H, T, D) -> all that can be looked at (B, H, S, D)."""
        if self.cache is None:
            return key, value
        return self.cache.write(layer, (key, value), self.rows, self.positions, self.mask.shape[-1])


class Attention(nn.Module):
    """Causal attention of heads."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.layer, self.qk_norm, self.factor = config.heads, layer, config.qk_norm, config.scale
        self.c_attn = nn.Linear(config.width, 3 * config.width, bias=False)
        self.c_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        new = self.c_attn(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        turned, value = new[:2], new[2]  # queries and keys
        query, key = place.rotation.turn(F.normalize(turned, dim=-1) if self.qk_norm else turned)
        keys, values = place.seen(self.layer, key, value)
        out = F.scaled_dot_product_attention(
            query.to(keys.dtype), keys, values, attn_mask=place.mask, is_causal=place.mask is None, scale=self.factor
        )
        if place.prefix is not None and place.prefix.length:
            out = self._within(place.prefix, query, keys, values, out)
        return self.c_proj(out.transpose(1, 2).flatten(2).to(query.dtype))

    def _within(self, prefix: Prefix, query: Tensor, keys: Tensor, values: Tensor, out: Tensor) -> Tensor:
        """The answers (B, H, T, D) of causal attention, those of the prefix replaced."""
        first = [part[:, :, : prefix.length] for part in (query, keys, values)]
        both_ways = F.scaled_dot_product_attention(*first, attn_mask=prefix.seen, scale=self.factor)
        rest = out[:, :, prefix.length :]
        return torch.cat((torch.where(prefix.within, both_ways, out[:, :, : prefix.length]), rest), 2)


class SwiGLU(nn.Module):
    """silu(a x) * (b x), projected back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = -(-int(8 * width / 3) // STEP) * STEP
        self.c_fc1, self.c_fc2 = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.c_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.silu(self.c_fc1(x)) * self.c_fc2(x))


class LlamaBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.rms_1, self.attn = RMSNorm(config.width), Attention(config, layer)
        self.rms_2, self.mlp = RMSNorm(config.width), SwiGLU(config.width)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        x = x + self.attn(self.rms_1(x), place)
        return x + self.mlp(self.rms_2(x))


class Llama(nn.Module):
    """Blocks and a last norm over embeddings (B, T, W); who embeds and who reads the result is up to the family."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.masks_prefix: bool | None = None  # none: but on a GPU, where a causal pass has no mask to read
        self.h = nn.ModuleList(LlamaBlock(config, layer) for layer in range(config.layers))
        self.ln_f = RMSNorm(config.width)

    def forward(self, x: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Embeddings (B, T, W) of whole rows -> states (B, T, W); padding on the right changes nothing before it.
        prefix (B,): so many first positions of each row, a text, see each other. `ValueError` for rows longer than
        `positions`."""
        if x.shape[1] > self.config.positions:
            raise ValueError(f"{x.shape[1]} positions, this network has {self.config.positions}")
        positions = torch.arange(x.shape[1], device=x.device)[None]
        masks = x.device.type != "cuda" if self.masks_prefix is None else self.masks_prefix
        if prefix is not None and not masks:
            apart = Prefix.of(prefix, x.shape[1])
            return self._through(x, Place(self._rotation(positions), None, positions, prefix=apart))
        mask = None if prefix is None else _allowed(positions, positions[0], prefix)
        return self._through(x, Place(self._rotation(positions), mask, positions))

    def extend(
        self, x: Tensor, positions: Tensor, cache: RowCache, rows: Tensor | None, prefix: Tensor | None = None,
        seen: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Embeddings (B, T, W) of new positions (B, T) of cached rows (B,), none for all of them -> their states
        (B, T, W). seen: the largest position and 1, where that is known without looking.

        Positions of a row follow those that it has. Padding on the right stands at the next positions, which later ones
        overwrite. prefix: as of `forward`, for what is new; it has to come in one piece."""
        looked_at = torch.arange(int(positions.max()) + 1 if seen is None else seen, device=x.device)
        mask = _allowed(positions, looked_at, prefix)
        return self._through(x, Place(self._rotation(positions), mask, positions, cache, rows))

    def new_cache(self, rows: int, longest: int | None = None) -> RowCache:
        """Room for rows of at most `longest` positions, none for all that the network has; in the precision in which
        its layers multiply."""
        c, weight = self.config, self.ln_f.scale
        kind = getattr(self.h[0].attn.c_attn, "computes", weight.dtype)
        longest = min(longest or c.positions, c.positions)
        return RowCache(c.layers, rows, c.heads, longest, c.width // c.heads, weight.device, kind)

    def _rotation(self, positions: Tensor) -> Rotation:
        c = self.config
        return Rotation.of(positions, c.width // c.heads, c.rope_base, ANGLES[c.rope_dtype])

    def _through(self, x: Tensor, place: Place) -> Tensor:
        for block in self.h:
            x = block(x, place)
        return self.ln_f(x)


def _allowed(positions: Tensor, seen: Tensor, prefix: Tensor | None) -> Tensor:
    """What positions (B, T) look at of positions `seen` (S,): (B, 1, T, S) bool, all before and, within a prefix of
    (B,) positions, each other."""
    earlier = seen <= positions[..., None]
    if prefix is not None:
        inside = (seen < prefix[:, None])[:, None]
        earlier = earlier | (inside & (positions < prefix[:, None])[..., None])
    return earlier[:, None]
