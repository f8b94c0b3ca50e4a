"""Tensors out of a PyTorch checkpoint, without running anything the file says.

`torch.load(weights_only=True)` is tried first. Lightning files often hold configuration objects that it refuses; then
only the tensors are taken: every class or function except those that rebuild tensors is replaced by an inert object.
"""

from __future__ import annotations

import pickle
import re
import struct
import tarfile
import types
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.usable import require_numbers
from mld.weight_files import check_file

# What reading a pickle or a zip that is cut or changed may raise.
DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError,
          ArithmeticError, AssertionError, ImportError, MemoryError, struct.error, tarfile.TarError)  # fmt: skip
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


WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "trans")  # what a state dict is kept under
_INSIDE = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")  # put into names by data-parallel and compiled modules
_AROUND = ("model.", "net.", "state_dict.")  # before every name
_BESIDE = re.compile(r"^_?losses|[Mm]etrics|^opt_")  # stored with weights, none itself


def read_state_dict(file: Path, notes: list[str] | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: the file itself when it is a state dict, or the one in it under a name of
    `WRAPPERS`, be it nested; also safetensors. Names lose what wrapping modules put into them; `notes` tell it.

    `CheckpointError` where there is none, and for weights that are not real and finite."""
    state = _read(file)
    while inner := _inner(state):
        state = inner
    tensors = {str(k): v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise CheckpointError(f"{file}: holds no state dict (a mapping from names to tensors){_keys_of(state)}")
    tensors = _unwrapped(tensors, file, [] if notes is None else notes)
    if absent := next((key for key, value in tensors.items() if value.is_meta), None):
        raise CheckpointError(f"{file}: {absent} has a shape and no numbers (device meta); save it anew")
    require_numbers(((k, v) for k, v in tensors.items() if not _BESIDE.search(k)), str(file))
    return tensors


def read_parts(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint that holds several state dicts by name, as `<part>.<name>`."""
    content = _read(file)
    parts = content.items() if isinstance(content, Mapping) else ()
    tensors = {
        f"{part}.{_INSIDE.sub('', str(key))}": value
        for part, state in parts if isinstance(state, Mapping)
        for key, value in state.items() if isinstance(value, Tensor)
    }  # fmt: skip
    if not tensors:
        raise CheckpointError(f"{file}: holds no named state dicts{_keys_of(content)}")
    require_numbers(((k, v) for k, v in tensors.items() if not _BESIDE.search(k)), str(file))
    return tensors


def _inner(state: Any) -> Mapping | None:
    """The state dict that a mapping wraps, None if it has tensors itself or wraps nothing."""
    if not isinstance(state, Mapping) or any(isinstance(value, Tensor) for value in state.values()):
        return None
    return next((state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping) and state[name]), None)


def _unwrapped(tensors: dict[str, Tensor], file: Path, notes: list[str]) -> dict[str, Tensor]:
    """Names without `module.` and `_orig_mod.` anywhere, and without a `model.` or `net.` that all weights have."""
    named = {key: _INSIDE.sub("", key) for key in tensors}
    removed = sorted({part for key in tensors for part in _INSIDE.findall(key)})
    while around := next((p for p in _AROUND if all(n.startswith(p) or _BESIDE.search(n) for n in named.values())
                          and any(n.startswith(p) for n in named.values())), None):  # fmt: skip
        named = {key: name.removeprefix(around) for key, name in named.items()}
        removed.append(around)
    if len(set(named.values())) < len(named):
        raise CheckpointError(f"{file}: names are not unique without {', '.join(removed)}")
    if removed:
        notes.append(f"names lose {', '.join(dict.fromkeys(removed))}, which a wrapping module put there")
    return {name: tensors[key] for key, name in named.items()}


def _keys_of(content: Any) -> str:
    """What a file holds instead, for a message."""
    if not isinstance(content, Mapping):
        return f"; it is a {type(content).__name__}"
    names = [str(key)[:30] for key in content]
    return f"; it has {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "; it is empty"


def _read(file: Path) -> Any:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    check_file(file)
    with open(file, "rb") as stream:
        start = stream.read(9)
    if file.suffix == ".safetensors" or start[8:9] == b"{":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the pickle; what matters is an error
        return _unpickled(file)


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass  # foreign objects in the file: take the tensors alone
    except DAMAGE as error:
        raise CheckpointError(f"{file}: damaged or not a PyTorch checkpoint") from error
    try:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_tensors_only)
    except DAMAGE as error:
        raise CheckpointError(f"{file}: damaged or not a PyTorch checkpoint ({type(error).__name__})") from error
