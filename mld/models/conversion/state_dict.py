"""Tensors out of a PyTorch checkpoint, without running anything the file says.

`torch.load(weights_only=True)` is tried first. Lightning files often hold configuration objects that it refuses; then
only the tensors are taken: every class or function except those that rebuild tensors is replaced by an inert object.
"""

from __future__ import annotations

import pickle
import types
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import CheckpointError

TENSOR_PARTS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}


class Inert:
    """Stands for any object of the file that is not a tensor: takes every call and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    add = extend = append


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return TENSOR_PARTS.get((module, name), Inert)


def _load(file, **kwargs: Any) -> Any:
    return _Unpickler(file, **kwargs).load()


# What `torch.load` asks of a pickle module.
_tensors_only = types.ModuleType("mld_tensors_only")
_tensors_only.Unpickler, _tensors_only.load = _Unpickler, _load
_tensors_only.UnpicklingError, _tensors_only.HIGHEST_PROTOCOL = pickle.UnpicklingError, pickle.HIGHEST_PROTOCOL


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: its `state_dict`, be it nested, or the file itself when it is one; also
    safetensors."""
    state = _read(file)
    while isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise CheckpointError(f"{file}: holds no state dict (a mapping from names to tensors)")
    return tensors


def read_parts(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint that holds several state dicts by name, as `<part>.<name>`."""
    content = _read(file)
    parts = content.items() if isinstance(content, Mapping) else ()
    tensors = {
        f"{part}.{key}": value
        for part, state in parts if isinstance(state, Mapping)
        for key, value in state.items() if isinstance(value, Tensor)
    }  # fmt: skip
    if not tensors:
        raise CheckpointError(f"{file}: holds no named state dicts")
    return tensors


def _read(file: Path) -> Any:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    with open(file, "rb") as stream:
        if stream.read(18) == b"version https://gi":
            raise CheckpointError(f"{file}: a Git LFS pointer, not the weights; run 'git lfs pull'")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from error
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass  # foreign objects in the file: take the tensors alone
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{file}: damaged or not a PyTorch checkpoint") from error
    try:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_tensors_only)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError,
            AttributeError) as error:  # fmt: skip
        raise CheckpointError(f"{file}: damaged or not a PyTorch checkpoint ({type(error).__name__})") from error
