"""Weights in fewer bits, for answers: what is read for each is a half (float16, bfloat16) or a quarter (int8).

A step of a network on few rows takes as long as reading its weights takes, so this is what makes it faster on a CPU,
and what makes large ones fit.

float16: weights of linear layers are rounded, sums stay float32 (relative error 2^-12 of each weight).
bfloat16: weights, inputs and results of linear layers are, sums stay float32, as under `torch.autocast`; so are kept
keys and values of families that keep them in their layers' precision (relative error 2^-9).
int8: weights are rounded to 255 steps per output channel, and on a CPU each row of the input to as many of its own
largest entry (Dettmers et al. 2022, without the outliers). Products are whole numbers and exact, so a row gives the
same alone and in any batch. On other devices inputs stay as they are: there it saves memory alone.
Tables that a family names (`MotionGenerator.tables`) are halved as well: to bfloat16 with int8.

Why not torchao: its weight-only int8 layers (0.18 on torch 2.13) took 117 ms for one row of a layer 4096 -> 11008 on a
CPU of one thread, as they widen the weights; those here take 2 ms, float32 takes 9.

The default everywhere is float32. Networks with rounded weights are neither trained nor saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError, RequestError
from mld.models.contracts.network import Network
from mld.models.rounded_products import STEPS, half_product, int8_product

WEIGHTS = ("float32", "float16", "bfloat16", "int8")
LEAST = 64  # channels: layers with fewer on a side, mostly the first and last of a network, stay as they are
AT_ONCE = 2**20  # weights that are rounded at a time: a layer needs no second copy of itself
TINY = 1e-30
# PyTorch's fused layers read the weights of their parts past `forward`.
FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


class Rounded(nn.Module):
    """A layer with rounded weights. `weight` is empty: it tells type and device alone."""

    computes: ClassVar[torch.dtype] = torch.float32  # in which it multiplies

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(0, device=weight.device))

    @staticmethod
    def held(rows: Tensor) -> Tensor:
        """What is kept in place of weights (N, in), widened to float32."""
        raise TypeError("a rounded layer says what it keeps")

    @staticmethod
    def bytes(shape: torch.Size) -> int:
        """Of weights (out, in)."""
        return 2 * shape.numel()

    def train(self, mode: bool = True) -> Rounded:
        if mode:
            raise RequestError("a model with rounded weights answers alone; to train it, open it with float32 weights")
        return super().train(mode)

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        raise RequestError("a model with rounded weights is not saved; open it with float32 weights for that")


class RoundedLinear(Rounded):
    """x (..., in) -> (..., out)."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight)
        self.out_features, self.in_features = weight.shape
        self.register_buffer("bias", None if bias is None else bias.to(torch.float32, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x.reshape(-1, self.in_features)).view(*x.shape[:-1], self.out_features)

    def multiply(self, rows: Tensor) -> Tensor:
        """Rows (N, in) -> (N, out)."""
        raise TypeError(f"{type(self).__name__} does not say how it multiplies")


class HalfLinear(RoundedLinear):
    """Weights in float16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self.product = half_product(weight) if weight.device.type == "cpu" else None
        self.register_buffer("rounded", None if self.product else weight.to(torch.float16, copy=True))

    @staticmethod
    def held(rows: Tensor) -> Tensor:
        return rows.half().float()

    def multiply(self, rows: Tensor) -> Tensor:
        if self.product is None:
            return F.linear(rows, self.rounded.to(rows.dtype), self.bias)
        out = self.product(rows.float())
        return (out if self.bias is None else out + self.bias).to(rows.dtype)


class BFloat16Linear(RoundedLinear):
    """Weights, inputs and results in bfloat16, bias in float32."""

    computes = torch.bfloat16

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self.register_buffer("rounded", weight.to(torch.bfloat16, copy=True).contiguous())

    @staticmethod
    def held(rows: Tensor) -> Tensor:
        return rows.bfloat16().float()

    def multiply(self, rows: Tensor) -> Tensor:
        out = F.linear(rows.bfloat16(), self.rounded)
        return (out if self.bias is None else out.float() + self.bias).to(rows.dtype)


class Int8Linear(RoundedLinear):
    """Weights in int8, `steps` (out, in) times `size` (out,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        steps, size = rounded(weight)
        self.levels, self.product = int8_product(steps, size) if weight.device.type == "cpu" else (0, None)
        self.register_buffer("steps", None if self.product else steps)
        self.register_buffer("size", None if self.product else size)

    @staticmethod
    def held(rows: Tensor) -> Tensor:
        steps, size = rounded(rows)
        return steps.float() * size[:, None]

    @staticmethod
    def bytes(shape: torch.Size) -> int:
        return shape.numel() + 4 * shape[0]

    def multiply(self, rows: Tensor) -> Tensor:
        if self.product is None:
            wide = self.steps.to(rows.dtype).mul_(self.size[:, None].to(rows.dtype))
            return F.linear(rows, wide, self.bias)
        inputs = rows.float()
        size = torch.linalg.vector_norm(inputs, torch.inf, -1, keepdim=True).clamp_min(TINY) / self.levels
        out = self.product(inputs / size)
        return (out * size if self.bias is None else torch.addcmul(self.bias, out, size)).to(rows.dtype)


class RoundedTable(Rounded):
    """Ids (...) -> their rows (..., W) float32, of a table (N, W) in half precision, `rounded`."""

    kind: ClassVar[torch.dtype] = torch.bfloat16

    def __init__(self, weight: Tensor, bias: None = None) -> None:
        super().__init__(weight)
        self.register_buffer("rounded", weight.to(self.kind, copy=True))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.rounded).float()

    def read_by(self, states: Tensor) -> Tensor:
        """States (..., W) times all rows, (..., N)."""
        return F.linear(states.to(self.kind), self.rounded).to(states.dtype)


class BFloat16Table(RoundedTable):
    held = BFloat16Linear.held


class HalfTable(RoundedTable):
    kind = torch.float16
    held = HalfLinear.held


KINDS: dict[str, tuple[type[Rounded], type[Rounded]]] = {  # of layers, of tables
    "float16": (HalfLinear, HalfTable),
    "bfloat16": (BFloat16Linear, BFloat16Table),
    "int8": (Int8Linear, BFloat16Table),
}  # fmt: skip


@dataclass
class Rounding:
    """What rounding did. layers: how many, tables included. error: root mean square of the weights' errors, over that
    of the weights. before, after: bytes of these layers, in float32 and now."""

    weights: str
    layers: int = 0
    wrong: float = 0.0  # sum of squares
    whole: float = 0.0
    before: int = 0
    after: int = 0

    @property
    def error(self) -> float:
        return (self.wrong / self.whole) ** 0.5 if self.whole else 0.0

    def make(self, layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Rounded:
        """A rounded layer in place of `layer`, with weights and bias as they lie in it or in a file; counted."""
        kind = KINDS[self.weights][isinstance(layer, nn.Embedding)]
        matrix = weight if isinstance(layer, (nn.Linear, nn.Embedding)) else weight.t()
        for rows in parts(matrix):
            rows = rows.float()
            self.wrong += float((kind.held(rows) - rows).square().sum())
            self.whole += float(rows.square().sum())
        self.layers, self.before = self.layers + 1, self.before + 4 * matrix.numel()
        self.after += kind.bytes(matrix.shape)
        return kind(matrix, bias).eval()

    def __str__(self) -> str:
        sizes = f"{self.before / 1e6:.1f} MB become {self.after / 1e6:.1f} MB"
        return f"{self.weights} weights: {self.layers} layers, {sizes}, rounded by {100 * self.error:.2g} %"


def check_weights(weights: str) -> None:
    """`ConfigError` for a name that is none of `WEIGHTS`."""
    if weights not in WEIGHTS:
        raise ConfigError(f"weights '{weights}' is not one of {', '.join(WEIGHTS)}")


@torch.no_grad()
def round_weights(network: Network, weights: str) -> Rounding | None:
    """Round the layers of a network in eval mode, in place; its tokenizer and other parts stay as they are. None for
    float32, which changes nothing. `ConfigError` for an unknown name. `mld.checkpoint.open_model` does so while it
    reads."""
    check_weights(weights)
    if weights == "float32":
        return None
    found = Rounding(weights)
    for path, layer in list(to_round(network)):
        bias = getattr(layer, "bias", None)
        put(network, path, found.make(layer, layer.weight.detach(), None if bias is None else bias.detach()))
    return found


def put(network: nn.Module, path: str, layer: nn.Module) -> None:
    """The layer at a place of the network, in place of the one that is there."""
    owner, _, name = path.rpartition(".")
    setattr(network.get_submodule(owner), name, layer)


def weight_bytes(network: Network, weights: str) -> int:
    """Memory of all weights, parts included; the network may be on the meta device."""
    kept = {id(value): value.nbytes for value in (*network.parameters(), *network.buffers())}
    if weights in KINDS:
        for _, layer in to_round(network):
            kept[id(layer.weight)] = KINDS[weights][isinstance(layer, nn.Embedding)].bytes(_shape(layer))
    return sum(kept.values())


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (out, in) -> int8 of the same shape, and the size of a step of each output channel (out,) float32."""
    weight = weight.detach()
    steps = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    sizes = torch.empty(len(weight), device=weight.device)
    for rows, step, size in zip(parts(weight), parts(steps), sizes.split(_rows(weight))):
        rows = rows.float()
        torch.div(rows.abs().amax(1).clamp_min(TINY), STEPS, out=size)
        step.copy_((rows / size[:, None]).round_())
    return steps, sizes


def parts(matrix: Tensor) -> tuple[Tensor, ...]:
    """The rows of a matrix, some at a time."""
    return matrix.split(_rows(matrix))


def _rows(matrix: Tensor) -> int:
    return max(1, AT_ONCE // max(1, matrix.shape[1]))


def to_round(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """Layers to round and tables, each with its place in the network."""
    tables = getattr(network, "tables", ())
    yield from ((name, network.get_submodule(name)) for name in tables)
    yield from _linear(network, "", {id(part) for part in network.parts.values()})


def _linear(module: nn.Module, path: str, kept: set[int]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if id(child) in kept or isinstance(child, FUSED):
            continue
        if _is_linear(child):
            if min(child.weight.shape) >= LEAST:
                yield path + name, child
        else:
            yield from _linear(child, f"{path}{name}.", kept)


def _is_linear(module: nn.Module) -> bool:
    # GPT-2's layer stands in transformers and in the backbones, under one name. Sub-classes may do more than multiply.
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"


def _shape(layer: nn.Module) -> torch.Size:
    shape = layer.weight.shape
    return shape if isinstance(layer, (nn.Linear, nn.Embedding)) else torch.Size((shape[1], shape[0]))
