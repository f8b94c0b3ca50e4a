"""Weights of linear layers in fewer bits, for answers: what is read for each is a half (float16) or a quarter (int8).

A step of a network on few rows takes as long as reading its weights takes, so this is what makes it faster on a CPU.

float16: weights are rounded, sums stay float32 (relative error 2^-12 of each weight).
int8: weights are rounded to 255 steps per output channel, and on a CPU each row of the input to as many of its own
largest entry (Dettmers et al. 2022, without the outliers). Products are whole numbers and exact, so a row gives the
same alone and in any batch. On other devices inputs stay as they are: there it saves memory alone.

The default everywhere is float32. Networks with rounded weights are neither trained nor saved.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError, RequestError
from mld.models.contracts.network import Network

WEIGHTS = ("float32", "float16", "int8")
LEAST = 64  # channels: layers with fewer on a side, mostly the first and last of a network, stay as they are
STEPS = 127  # of int8 on each side of 0
TINY = 1e-30
# PyTorch's fused layers read the weights of their parts past `forward`.
FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
Product = Callable[[Tensor], Tensor]  # rows (N, in) -> (N, out), both float32


@dataclass(frozen=True)
class Rounding:
    """What rounding did. layers: how many. error: root mean square of the weights' errors, over that of the weights.
    before, after: bytes of these layers."""

    weights: str
    layers: int
    error: float
    before: int
    after: int

    def __str__(self) -> str:
        sizes = f"{self.before / 1e6:.1f} MB become {self.after / 1e6:.1f} MB"
        return f"{self.weights} weights: {self.layers} layers, {sizes}, rounded by {100 * self.error:.2g} %"


class RoundedLinear(nn.Module):
    """x (..., in) -> (..., out) with rounded weights. `weight` is empty: it tells type and device alone."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", weight.new_empty(0))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x.reshape(-1, self.in_features)).view(*x.shape[:-1], self.out_features)

    def multiply(self, rows: Tensor) -> Tensor:
        """Rows (N, in) -> (N, out)."""
        raise TypeError(f"{type(self).__name__} does not say how it multiplies")

    def train(self, mode: bool = True) -> RoundedLinear:
        if mode:
            raise RequestError("a model with rounded weights answers alone; to train it, open it with float32 weights")
        return super().train(mode)

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        raise RequestError("a model with rounded weights is not saved; open it with float32 weights for that")


class HalfLinear(RoundedLinear):
    """Weights in float16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self.product = _half_product(weight) if weight.device.type == "cpu" else None
        self.register_buffer("rounded", None if self.product else weight.half())

    def multiply(self, rows: Tensor) -> Tensor:
        if self.product is None:
            return F.linear(rows, self.rounded.to(rows.dtype), self.bias)
        out = self.product(rows.float())
        return (out if self.bias is None else out + self.bias).to(rows.dtype)


class Int8Linear(RoundedLinear):
    """Weights in int8, `steps` (out, in) times `size` (out,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        steps, size = rounded(weight)
        self.levels, self.product = _int8_product(steps, size) if weight.device.type == "cpu" else (0, None)
        self.register_buffer("steps", None if self.product else steps)
        self.register_buffer("size", None if self.product else size)

    def multiply(self, rows: Tensor) -> Tensor:
        if self.product is None:
            return F.linear(rows, self.steps.to(rows.dtype) * self.size[:, None].to(rows.dtype), self.bias)
        inputs = rows.float()
        size = torch.linalg.vector_norm(inputs, torch.inf, -1, keepdim=True).clamp_min(TINY) / self.levels
        out = self.product(inputs / size)
        return (out * size if self.bias is None else torch.addcmul(self.bias, out, size)).to(rows.dtype)


KINDS: dict[str, type[RoundedLinear]] = {"float16": HalfLinear, "int8": Int8Linear}


def check_weights(weights: str) -> None:
    """`ConfigError` for a name that is none of `WEIGHTS`."""
    if weights not in WEIGHTS:
        raise ConfigError(f"weights '{weights}' is not one of {', '.join(WEIGHTS)}")


@torch.no_grad()
def round_weights(network: Network, weights: str) -> Rounding | None:
    """Round the linear layers of a network in eval mode, in place; its tokenizer and other parts stay as they are. None
    for float32, which changes nothing. `ConfigError` for an unknown name."""
    check_weights(weights)
    if weights == "float32":
        return None
    kept = {id(part) for part in network.parts.values()}
    layers, before, after, wrong, whole = 0, 0, 0, 0.0, 0.0
    for parent, name, layer in list(_linear(network, kept)):
        matrix, bias = _matrix(layer)
        held = matrix.half().float() if weights == "float16" else torch.mul(*_columns(rounded(matrix)))
        wrong += float((held - matrix).double().square().sum())
        whole += float(matrix.double().square().sum())
        layers, before = layers + 1, before + 4 * matrix.numel()
        after += 2 * matrix.numel() if weights == "float16" else matrix.numel() + 4 * len(matrix)
        setattr(parent, name, KINDS[weights](matrix, bias).eval())
    return Rounding(weights, layers, (wrong / whole) ** 0.5 if whole else 0.0, before, after)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (out, in) -> int8 of the same shape, and the size of a step of each output channel (out,) float32."""
    size = weight.float().abs().amax(1).clamp_min(TINY) / STEPS
    return (weight.float() / size[:, None]).round().to(torch.int8), size


def _columns(found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return found[0].float(), found[1][:, None]


def _linear(module: nn.Module, kept: set[int]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Layers to round, each with its owner and its name there."""
    for name, child in module.named_children():
        if id(child) in kept or isinstance(child, FUSED):
            continue
        if _is_linear(child):
            if min(child.weight.shape) >= LEAST:
                yield module, name, child
        else:
            yield from _linear(child, kept)


def _is_linear(module: nn.Module) -> bool:
    # GPT-2's layer stands in transformers and in the backbones, under one name. Sub-classes may do more than multiply.
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"


def _matrix(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weights (out, in) and bias (out,)."""
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    return weight if isinstance(layer, nn.Linear) else weight.t(), bias


# PyTorch's kernels. Which there are depends on processor and version; without one, weights are widened for each use.


@contextmanager
def _fbgemm() -> Iterator[bool]:
    """Whether layers can be packed for FBGEMM, in the block."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        yield False
        return
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors will go; what packs them stays for as long as they do
        torch.backends.quantized.engine = "fbgemm"
        try:
            yield True
        finally:
            torch.backends.quantized.engine = before


def _half_product(weight: Tensor) -> Product | None:
    ops = torch.ops.quantized
    with _fbgemm() as there:
        if not (there and hasattr(ops, "linear_dynamic_fp16")):
            return None
        packed = ops.linear_prepack_fp16(weight.float().contiguous(), None)
    return lambda rows: ops.linear_dynamic_fp16(rows, packed)


def _with_fbgemm(steps: Tensor, size: Tensor, levels: int) -> Product | None:
    ops = torch.ops.quantized
    with _fbgemm() as there:
        if not (there and hasattr(ops, "linear_with_input_q_dq_qweight_dq_output_fp32")):
            return None
        zeros = torch.zeros(len(size), dtype=torch.int64)
        whole = torch._make_per_channel_quantized_tensor(steps.contiguous(), size.double(), zeros, 0)
        packed = ops.linear_prepack(whole, None)
    return lambda rows: ops.linear_with_input_q_dq_qweight_dq_output_fp32(rows, 1.0, levels + 1, packed)


def _with_onednn(steps: Tensor, size: Tensor, levels: int) -> Product | None:
    ops = torch.ops.onednn
    if not (torch.backends.mkldnn.is_available() and hasattr(ops, "qlinear_pointwise")):
        return None
    packed, zeros, middle = ops.qlinear_prepack(steps.contiguous(), None), torch.zeros_like(size).long(), levels + 1

    def product(rows: Tensor) -> Tensor:
        inputs = (rows.round() + middle).to(torch.uint8)
        return ops.qlinear_pointwise(
            inputs, 1.0, middle, packed, size, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )  # fmt: skip

    return product


MAKERS = (_with_fbgemm, _with_onednn)


@cache
def _levels(maker: Callable[[Tensor, Tensor, int], Product | None]) -> int:
    """Steps of the input for which a kernel's sums are right: processors without VNNI add pairs of products in 16 bits,
    which are too few for 8 bits times 8. 0 where it is not there or is always wrong."""
    steps = torch.full((LEAST, LEAST), STEPS, dtype=torch.int8)
    steps[::2] = -STEPS
    for levels in (STEPS, STEPS // 2):
        try:
            product = maker(steps, torch.ones(LEAST), levels)
            rows = torch.full((3, LEAST), float(levels)) * torch.tensor([[1.0], [-1.0], [0.0]])
            if product is not None and torch.equal(product(rows), F.linear(rows, steps.float())):
                return levels
        except (RuntimeError, NotImplementedError):
            return 0
    return 0


def _int8_product(steps: Tensor, size: Tensor) -> tuple[int, Product | None]:
    """The best kernel there is, and for how many steps of the input."""
    for maker in MAKERS:
        if levels := _levels(maker):
            return levels, maker(steps, size, levels)
    return 0, None
