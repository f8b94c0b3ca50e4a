"""PyTorch's products with rounded weights on a CPU. Which there are depends on processor and version; without one,
weights are widened for each use.

A product takes rows (N, in) and gives (N, out), both float32. It holds the weights in its own layout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 64  # channels of the layer that a kernel is tried on
STEPS = 127  # of int8 on each side of 0
Product = Callable[[Tensor], Tensor]


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


def half_product(weight: Tensor) -> Product | None:
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
def levels_of(maker: Callable[[Tensor, Tensor, int], Product | None]) -> int:
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


def int8_product(steps: Tensor, size: Tensor) -> tuple[int, Product | None]:
    """The best kernel there is, and for how many steps of the input."""
    for maker in MAKERS:
        if levels := levels_of(maker):
            return levels, maker(steps, size, levels)
    return 0, None
