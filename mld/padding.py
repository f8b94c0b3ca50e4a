"""Rows of any length as one padded tensor and a mask, the shape in which clips cross module borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def padded(rows: Sequence[Tensor], device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Rows (T, ...) -> (B, T, ...), zeros behind the end of each, and their mask (B, T) bool, True for real frames."""
    tensor, mask = pad_sequence(list(rows), batch_first=True), mask_of([len(row) for row in rows])
    return (tensor, mask) if device is None else (tensor.to(device), mask.to(device))


def whole_units(features: Tensor, unit: int) -> Tensor:
    """Features (T, D) cut to a multiple of `unit` frames; a clip shorter than one unit repeats its last frame."""
    if unit == 0:
        return features
    if len(features) < unit:
        return torch.cat([features, features[-1:].expand(unit - len(features), -1)])
    return features[: len(features) // unit * unit]


def mask_of(lengths: Sequence[int] | Tensor, longest: int | None = None) -> Tensor:
    """(B, T) bool, True for the first `lengths` (B,) of each row. T is the largest of them, or `longest`."""
    counts = torch.as_tensor(lengths)
    frames = torch.arange(int(counts.max()) if longest is None else longest, device=counts.device)
    return frames < counts[:, None]
