"""By what weights are recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor


def tensor_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256, hexadecimal, over names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors, key=lambda item: item[0]):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().reshape(-1))  # without a copy: some tensors are gigabytes
    return digest.hexdigest()
