"""Weights of few bits: matrices as whole numbers with a float16 scale for each group of columns, the rest as it is.

A matrix X of R rows and K columns is stored in one or more parts of whole rows, one after the other, those of most
bits first: `X.q6` uint8 (R', K * 6 / 8) and `X.q6_scale` float16 (R', K / group). Eight numbers of n bits stand in n
bytes, the first in the lowest bits, each with 2 ** (n - 1) added. A weight is number times scale, which float32 holds
exactly: so every machine reads the same, and its hash is the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from mld.errors import CheckpointError

BITS, GROUP = 8, 64  # of weights in model folders, and columns that share a scale
LEAST = 64  # rows and columns: what has fewer is not worth it
METHOD = {"quant_method": "mld"}  # as quantization_config of config.json: the library refuses what it does not know
NAME = re.compile(r"(?P<matrix>.+)\.q(?P<bits>[2-8])(?P<scale>_scale)?")
# Parts of a group's greatest number that are tried as the greatest that is told apart: what is beyond is cut.
CUTS = (1.0, 0.95, 0.9, 0.85, 0.8)


def packed(numbers: Tensor, bits: int) -> Tensor:
    """Whole numbers (R, K) from -2 ** (bits - 1) on, K a multiple of 8 -> uint8 (R, K * bits / 8)."""
    raised = (numbers.long() + 2 ** (bits - 1)).unflatten(-1, (-1, 8))
    words = (raised << (bits * torch.arange(8))).sum(-1, keepdim=True)  # no bit is in two: the sum is the union
    return ((words >> (8 * torch.arange(bits))) & 255).to(torch.uint8).flatten(-2)


def unpacked(stored: Tensor, bits: int) -> Tensor:
    """What `packed` made -> float32 (R, K). All in bytes: words of 64 bits would move eight times as much."""
    if bits == 8:
        return stored.float().sub_(128)
    own = stored.unflatten(-1, (-1, bits)).unbind(-1)
    values = []
    for place in range(8):
        byte, shift = divmod(place * bits, 8)
        value = own[byte] >> shift
        if shift + bits > 8:
            value = value | (own[byte + 1] << (8 - shift))
        values.append(value & (2**bits - 1))
    return torch.stack(values, -1).flatten(-2).float().sub_(2 ** (bits - 1))


def rounded(matrix: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """Matrix (R, K) -> whole numbers (R, K) int16 and scales (R, K / group) float16: of those that `CUTS` give the ones
    with the least square error."""
    parts = matrix.float().unflatten(-1, (-1, group))
    top = 2 ** (bits - 1) - 1
    largest = parts.abs().amax(-1, keepdim=True)
    numbers = scales = error = None
    for cut in CUTS:
        scale = (cut * largest / top).half().float().clamp_min(2**-23)  # of float16's small ones
        whole = (parts / scale).round().clamp(-top, top)
        wrong = (whole * scale - parts).square().sum(-1, keepdim=True)
        better = torch.ones_like(wrong, dtype=torch.bool) if error is None else wrong < error
        numbers = whole if numbers is None else whole.where(better, numbers)
        scales = scale if scales is None else scale.where(better, scales)
        error = wrong if error is None else wrong.minimum(error)
    return numbers.flatten(-2).to(torch.int16), scales[..., 0].half()


def pack_matrix(name: str, matrix: Tensor, bits: int, group: int) -> dict[str, Tensor]:
    """The tensors that stand for a matrix (R, K), K a multiple of 8, or for its first or last rows. group: columns that
    share a scale; all, where K is no multiple of it."""
    columns = matrix.shape[1]
    numbers, scales = rounded(matrix, bits, group if columns % group == 0 else columns)
    return {f"{name}.q{bits}": packed(numbers, bits), f"{name}.q{bits}_scale": scales}


def is_worth_packing(shape: torch.Size) -> bool:
    """Whether floating numbers of this shape, as a matrix of as many rows, are worth packing in a model folder."""
    return len(shape) > 1 and shape[0] >= LEAST and shape[1:].numel() >= LEAST and shape[1:].numel() % 8 == 0


def pack_tensor(name: str, value: Tensor) -> dict[str, Tensor]:
    """What stands for a tensor (R, ...) in a model folder: its matrix (R, K) in 8 bits."""
    return pack_matrix(name, value.reshape(len(value), -1), BITS, GROUP)


def matrix_of(name: str, names: Collection[str]) -> str | None:
    """The weight whose numbers of 8 bits stand under a name of a model folder; none of a name that is a weight's."""
    found = NAME.fullmatch(name)
    packed_here = found and not found["scale"] and found["bits"] == str(BITS) and f"{name}_scale" in names
    return found["matrix"] if found and packed_here else None


def unpack_weights(stored: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], where: str) -> dict[str, Tensor]:
    """All weights, float32, each of the shape that is wanted of it. `CheckpointError` for those that are missing, too
    many, of other shapes or kinds, or whose scales are no numbers."""
    parts: dict[str, list[tuple[int, str]]] = {}
    for name in stored:
        found = NAME.fullmatch(name)
        matrix = found["matrix"] if found else name
        if matrix not in wanted:
            raise CheckpointError(f"{where}: nothing is known of {name}")
        if found is None or not found["scale"]:
            parts.setdefault(matrix, []).append((int(found["bits"]) if found else 0, name))
        elif name.removesuffix("_scale") not in stored:
            raise CheckpointError(f"{where}: {name} is the scale of nothing")
    if missing := sorted(set(wanted) - set(parts)):
        raise CheckpointError(f"{where}: lacks {len(missing)} weights, {missing[0]} first")
    made: dict[str, Tensor] = {}
    for matrix, own in parts.items():
        rows = [unpacked_part(stored, name, bits, where) for bits, name in sorted(own, reverse=True)]
        whole = rows[0] if len(rows) == 1 else torch.cat(rows) if len({part.shape[1:] for part in rows}) == 1 else None
        if whole is None or whole.shape != wanted[matrix]:
            shapes = " and ".join(str(tuple(part.shape)) for part in rows)
            raise CheckpointError(f"{where}: {matrix} is of shape {shapes}, its config wants {tuple(wanted[matrix])}")
        made[matrix] = whole
    return made


def unpacked_part(stored: Mapping[str, Tensor], name: str, bits: int, where: str) -> Tensor:
    """A weight, or the rows of one that stand under a name; bits 0: as it is."""
    numbers = stored[name]
    if not bits:
        if not numbers.is_floating_point():
            raise CheckpointError(f"{where}: {name} is {numbers.dtype}, a floating type is needed")
        return numbers.float()
    scales = stored.get(f"{name}_scale")
    if scales is None:
        raise CheckpointError(f"{where}: {name} has no scale, {name}_scale is missing")
    if numbers.dtype != torch.uint8 or scales.dtype != torch.float16:
        kinds = f"{numbers.dtype} and {scales.dtype}".replace("torch.", "")
        raise CheckpointError(f"{where}: {name} and its scale are {kinds}, not uint8 and float16")
    columns = numbers.shape[-1] * 8 // bits if numbers.ndim == 2 and numbers.shape[-1] % bits == 0 else 0
    if not columns or scales.ndim != 2 or len(scales) != len(numbers) or not scales.shape[1] \
            or columns % scales.shape[1]:  # fmt: skip
        raise CheckpointError(f"{where}: {name} of shape {tuple(numbers.shape)} has a scale of {tuple(scales.shape)}")
    if not bool(scales.isfinite().all()):
        raise CheckpointError(f"{where}: {name}_scale holds NaN or infinite numbers; nothing can be computed with them")
    parts = unpacked(numbers, bits).unflatten(-1, (scales.shape[1], -1))
    return parts.mul_(scales.float()[..., None]).flatten(-2)
