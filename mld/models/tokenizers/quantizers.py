"""Vector quantizers: nearest code of a codebook, and four ways to move the codebook (MotionGPT spec 2.3).

`ema_reset` (default) moves codes by exponential averages and re-seats dead ones; `ema` never re-seats; `reset` only
re-seats; `orig` learns its codebook by gradient. Statistics are summed over all processes and process 0 decides which
rows seat a code, so every process holds the same codebook. Running averages are saved; published files lack them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError, DataError

RESET_BELOW = 1.0  # a code whose (decayed) use count per batch is below this is dead
TILE_NOISE = 0.01  # spread of copied rows, divided by sqrt(code_dim)


class Quantized(NamedTuple):
    """values (B, C, L) with straight-through gradient, codes (B, L), scalar commitment_loss and perplexity; usage: the
    share of all codes that were used."""

    values: Tensor
    codes: Tensor
    commitment_loss: Tensor
    perplexity: Tensor
    usage: Tensor


class Quantizer(nn.Module):
    """What the four share. A subclass provides `entries()` (K, C) and, to move them, `update(rows, codes)`."""

    perplexity_eps = 1e-7

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.codebook_size, self.code_dim = codebook_size, code_dim

    def entries(self) -> Tensor:
        return self.codebook

    def seat(self, rows: Tensor) -> None:
        """Before the first training step: fill the codebook if it is empty."""

    def update(self, rows: Tensor, codes: Tensor) -> None:
        """After the codes of a training step are known: move the codebook."""

    def commitment(self, rows: Tensor, nearest: Tensor) -> Tensor:
        return F.mse_loss(rows, nearest.detach())

    def nearest(self, rows: Tensor) -> Tensor:
        """Rows (N, C) -> index (N,) of the closest entry, the first one on a tie."""
        with torch.autocast(rows.device.type, enabled=False):
            rows, book = rows.float(), self.entries().float()
            distance = rows.pow(2).sum(1, keepdim=True) - 2 * rows @ book.T + book.pow(2).sum(1)
            return distance.argmin(1)

    def codes(self, x: Tensor) -> Tensor:
        """Hidden (B, C, L) -> codes (B, L)."""
        rows = x.transpose(1, 2)
        return self.nearest(rows.reshape(-1, self.code_dim)).view(rows.shape[:2])

    def known(self, codes: Tensor) -> Tensor:
        """The codes (B, L) as they are; `DataError` for one that the codebook does not have."""
        if codes.numel():
            least, most = (int(end) for end in codes.aminmax())
            if least < 0 or most >= self.codebook_size:
                raise DataError(
                    f"code {most if least >= 0 else least} is none of this tokenizer's, which go from 0 to"
                    f" {self.codebook_size - 1}; they are another tokenizer's: decode them with that one"
                )
        return codes

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (B, L) -> values (B, C, L)."""
        return F.embedding(codes, self.entries()).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Quantized:
        """Quantize hidden (B, C, L); only positions in mask (B, L) count for losses and for the codebook."""
        rows = x.transpose(1, 2)[mask]
        if self.training:
            self.seat(rows.detach())
        codes = self.codes(x)
        values = self.lookup(codes)
        commitment_loss = self.commitment(rows, values.transpose(1, 2)[mask])
        used = codes[mask]
        if self.training:
            self.update(rows.detach(), used)
        return Quantized(x + (values - x).detach(), codes, commitment_loss, *self.use(used))

    def use(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Perplexity, exp of the entropy of the codes (N,) in use, and the share of all codes that they are, over all
        processes (in evaluation: of this one). Counted, as a dense one-hot of 64,000 codes is large."""
        counts = torch.bincount(codes, minlength=self.codebook_size).float()
        counts = _summed(counts) if self.training else counts
        share = counts / counts.sum().clamp(min=1)
        perplexity = torch.exp(-(share * (share + self.perplexity_eps).log()).sum())
        return perplexity, (counts > 0).float().mean()


class _Seated(Quantizer):
    """A codebook buffer that starts empty (zeros) and is filled from the first batch."""

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__(codebook_size, code_dim)
        self.register_buffer("codebook", torch.zeros(codebook_size, code_dim))
        self.draw_noise: Callable[[Tensor], Tensor] = torch.randn_like

    @property
    def initialised(self) -> bool:
        return bool(self.codebook.any())

    def tile(self, rows: Tensor) -> Tensor:
        """The first K rows of the batch of process 0; fewer rows are repeated, all of them with a little noise."""
        if len(rows) < self.codebook_size:
            rows = rows.repeat(math.ceil(self.codebook_size / max(len(rows), 1)), 1)
            rows = rows + self.draw_noise(rows) * (TILE_NOISE / math.sqrt(self.code_dim))
        return _from_first(rows[: self.codebook_size].to(self.codebook))

    def seat(self, rows: Tensor) -> None:
        if not self.initialised:
            self.codebook.copy_(self.tile(rows))


class Reset(_Seated):
    """Codes unused in the current batch take a row of it; used codes stay."""

    def __init__(self, codebook_size: int, code_dim: int) -> None:
        super().__init__(codebook_size, code_dim)
        self.register_buffer("code_count", torch.zeros(codebook_size), persistent=False)

    def update(self, rows: Tensor, codes: Tensor) -> None:
        self.code_count.copy_(_summed(torch.bincount(codes, minlength=self.codebook_size).to(self.code_count)))
        dead = (self.code_count < RESET_BELOW)[:, None]
        self.codebook.copy_(torch.where(dead, self.tile(rows), self.codebook))


class Ema(_Seated):
    """Codes are running averages of the rows they won. Buffers: code_sum (K, C), code_count (K,)."""

    def __init__(self, codebook_size: int, code_dim: int, decay: float) -> None:
        super().__init__(codebook_size, code_dim)
        self.decay = decay
        self.register_buffer("code_sum", torch.zeros(codebook_size, code_dim))
        self.register_buffer("code_count", torch.zeros(codebook_size))

    def seat(self, rows: Tensor) -> None:
        if not self.initialised:
            super().seat(rows)
            self.code_sum.copy_(self.codebook)
            self.code_count.fill_(1.0)

    def update(self, rows: Tensor, codes: Tensor) -> None:
        rows = rows.to(self.code_sum)
        sums = torch.zeros_like(self.code_sum).index_add_(0, codes, rows)
        counts = torch.bincount(codes, minlength=self.codebook_size).to(self.code_count)
        self.code_sum.mul_(self.decay).add_(_summed(sums), alpha=1 - self.decay)
        self.code_count.mul_(self.decay).add_(_summed(counts), alpha=1 - self.decay)
        self.codebook.copy_(self.moved(self.code_sum / self.code_count[:, None], rows))

    def moved(self, average: Tensor, rows: Tensor) -> Tensor:
        return average

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        """A file without running averages (the published format) means: every code was seen once."""
        book = state_dict.get(prefix + "codebook")
        if book is not None and prefix + "code_sum" not in state_dict and prefix + "code_count" not in state_dict:
            seen = float(bool(book.any()))
            state_dict[prefix + "code_sum"] = book.float().clone()
            state_dict[prefix + "code_count"] = torch.full(book.shape[:1], seen)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class EmaReset(Ema):
    """Running averages; a dead code takes a row of the current batch, its own sum and count stay as they are."""

    def __init__(self, codebook_size: int, code_dim: int, decay: float, reset_below: float = RESET_BELOW) -> None:
        super().__init__(codebook_size, code_dim, decay)
        self.reset_below = reset_below

    def moved(self, average: Tensor, rows: Tensor) -> Tensor:
        return torch.where((self.code_count >= self.reset_below)[:, None], average, self.tile(rows))


class Learned(Quantizer):
    """The codebook is an embedding trained by gradient; the loss pulls codes to rows and rows to codes."""

    perplexity_eps = 1e-10

    def __init__(self, codebook_size: int, code_dim: int, beta: float) -> None:
        super().__init__(codebook_size, code_dim)
        self.beta = beta
        self.embedding = nn.Embedding(codebook_size, code_dim)
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)

    def entries(self) -> Tensor:
        return self.embedding.weight

    def commitment(self, rows: Tensor, nearest: Tensor) -> Tensor:
        return F.mse_loss(nearest, rows.detach()) + self.beta * F.mse_loss(rows, nearest.detach())


def make_quantizer(
    name: str, codebook_size: int, code_dim: int, decay: float, beta: float, reset_below: float = RESET_BELOW
) -> Quantizer:
    """A quantizer by its published name; `ConfigError` lists the names."""
    makers = {
        "ema_reset": lambda: EmaReset(codebook_size, code_dim, decay, reset_below),
        "ema": lambda: Ema(codebook_size, code_dim, decay),
        "reset": lambda: Reset(codebook_size, code_dim),
        "orig": lambda: Learned(codebook_size, code_dim, beta),
    }
    if name not in makers:
        raise ConfigError(f"quantizer '{name}' is not one of {', '.join(makers)}")
    return makers[name]()


def _parallel() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _summed(x: Tensor) -> Tensor:
    """x summed over all processes, in place."""
    if _parallel():
        dist.all_reduce(x)
    return x


def _from_first(x: Tensor) -> Tensor:
    """x of process 0, on every process. A copy: the caller's x stays as it is."""
    if _parallel():
        x = x.clone(memory_format=torch.contiguous_format)
        dist.broadcast(x, 0)
    return x
