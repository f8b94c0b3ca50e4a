"""Weights out of safetensors files into a network, tensor by tensor: each is read, becomes what is wanted of it, and is
the network's. So memory holds the network, and beside it one tensor.

Names and shapes of all files are compared with the network before the first number is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mld.errors import CheckpointError
from mld.models import memory
from mld.models.contracts.network import Network
from mld.models.packed_weights import BITS, matrix_of, unpacked_part
from mld.models.quantization import WEIGHTS, Rounding, check_weights, put, to_round, weight_bytes
from mld.models.usable import fault
from mld.reading import check_file, gone_wrong

READ_AT_ONCE = 200_000_000  # bytes
# Statistics are tiny numbers and running sums: half precision would change results.
KEEP_FLOAT32 = ("feature_mean", "feature_std", "latent_scale", "gain", "code_sum", "code_count")

FILLS = {
    *(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")),
    *(getattr(Tensor, name) for name in ("normal_", "uniform_", "random_", "exponential_", "log_normal_")),
}  # fmt: skip


@torch.no_grad()
def read_into(
    network: Network, files: Sequence[Path], device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
    weights: str = "float32",
) -> Rounding | None:  # fmt: skip
    """Fill a network without weights (`without_weights`) from files, on a device; None where nothing is rounded.

    dtype: of its floating weights, none for float32; statistics stay as they are. weights: as of
    `mld.models.quantization`; a layer is rounded as soon as it is read. `CheckpointError` lists what is missing,
    unexpected, of another shape or not numbers to compute with, and says where memory does not suffice."""
    check_weights(weights)
    where, own, twice = str(files[0]), network.state_dict(), aliases(network)
    shapes = {key: value for file in files for key, value in _described(file, own).items()}
    _check(network, shapes, own, twice, where)
    memory.require({name: weight_bytes(network, name) for name in WEIGHTS}, weights, device, where)
    rounding = None if weights == "float32" else Rounding(weights)
    layers = _Layers(network, twice, rounding)
    fitting: dict[str, Tensor] = {}
    for file in files:
        for key, value in _tensors(file):
            value = value.reshape(own[key].shape)
            if told := fault(value, own[key]):
                raise CheckpointError(f"{where}: does not fit {type(network).__name__}: {key} {told}")
            layers.take(key, value, device)
            if key in layers.plain:
                fitting[key] = value.to(device, _wanted(key, own[key], dtype), copy=True)
            del value
    layers.put()
    fitting |= {key: fitting[name] for key, name in twice.items() if key in layers.stay and key not in fitting}
    fitting = {key: value for key, value in fitting.items() if key in layers.stay}
    shared = _shared_parameters(network)
    missing, unexpected = network.load_state_dict(fitting, assign=True, strict=False)
    if lost := [key for key in (*missing, *unexpected) if key in layers.stay]:
        raise CheckpointError(f"{where}: does not fit {type(network).__name__}: {', '.join(lost[:5])}")
    for places in shared:
        owner, name = places[0]
        for module, other in places[1:]:
            module._parameters[other] = owner._parameters[name]
    return rounding


class _Layers:
    """Layers that are rounded, each as soon as all of it was read. stay: names of the weights that stay as they are.
    plain: the same, by the names under which they are read."""

    def __init__(self, network: Network, twice: dict[str, str], rounding: Rounding | None) -> None:
        self.network, self.rounding = network, rounding
        self._users: dict[str, list[tuple[str, str]]] = {}  # name in the file -> path and "weight" or "bias"
        self._parts: dict[str, dict[str, Tensor]] = {}
        self._layers = dict(to_round(network)) if rounding else {}
        self._made: dict[str, nn.Module] = {}
        self._whole: dict[str, set[str]] = {}
        rounded = set()
        for path, layer in self._layers.items():
            self._whole[path] = {name for name, _ in layer.named_parameters(recurse=False)}
            for name in self._whole[path]:
                key = f"{path}.{name}"
                rounded.add(key)
                self._users.setdefault(twice.get(key, key), []).append((path, name))
        self.stay = set(network.state_dict()) - rounded
        self.plain = self.stay | {name for key, name in twice.items() if key in self.stay}

    def take(self, key: str, value: Tensor, device: str | torch.device) -> None:
        """value: a view of the file, copied where it has to wait for the rest of its layer."""
        for path, name in self._users.get(key, ()):
            found = self._parts.setdefault(path, {})
            if found.keys() | {name} == self._whole[path]:
                found[name] = value.to(device)
                self._made[path] = self.rounding.make(self._layers[path], found["weight"], found.get("bias"))
                del self._parts[path]
            else:
                found[name] = value.to(device, copy=True)

    def put(self) -> None:
        """Into the network."""
        for path, layer in self._made.items():
            put(self.network, path, layer)


def _check(
    network: nn.Module, shapes: dict[str, Tensor], own: dict[str, Tensor], twice: dict[str, str], where: str
) -> None:
    """`CheckpointError` where the files' tensors, given without numbers, are not those of the network."""
    problems = [f"missing {key}" for key in own if key not in shapes and twice.get(key) not in shapes]
    problems += [f"unexpected {key}" for key in shapes if key not in own]
    problems += [
        f"{key} has shape {tuple(shapes[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own if key in shapes and shapes[key].shape != own[key].shape
    ]  # fmt: skip
    problems += [f"{key} {told}" for key, value in shapes.items() if key in own and (told := fault(value, own[key]))]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{where}: does not fit {type(network).__name__}: {'; '.join(problems[:5])}{more}")


def _described(file: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names, shapes and types in a file, as tensors on the meta device; pointers and web pages are told apart from
    damage. What is packed is described as what it stands for, of the shape of the network's own if it can be that."""
    if not file.is_file():
        raise CheckpointError(f"{file}: missing")
    check_file(file)
    if told := gone_wrong(file):
        raise CheckpointError(f"{file}: {told.format('the weights')}")
    with _readable(file), safe_open(file, "pt") as opened:
        found, names = {}, set(opened.keys())
        for key in opened.keys():  # noqa: SIM118  (no mapping)
            part = opened.get_slice(key)
            shape = part.get_shape()
            kind = (part[:0] if shape else opened.get_tensor(key)).dtype
            if matrix := matrix_of(key, names):
                if matrix in names:
                    raise CheckpointError(f"{file}: holds {matrix} twice, packed and as it is; copy the file anew")
                whole = own[matrix].shape if matrix in own else torch.Size(shape)
                same = len(shape) == 2 and list(shape) == [*whole[:1], whole[1:].numel()]
                found[matrix] = torch.empty(whole if same else shape, device="meta")
            elif not _is_scale(key, names):
                found[key] = torch.empty(shape, dtype=kind, device="meta")
        return found


def _is_scale(key: str, names: Collection[str]) -> bool:
    """Whether a name is that of the scales of something packed."""
    return key.endswith("_scale") and matrix_of(key.removesuffix("_scale"), names) is not None


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Views of a mapped file. It is closed every now and then, as what is read of it stays in memory until then. They
    are to be copied: where numbers lie decides how sums are rounded, and in a mapped file they lie anyhow."""
    with _readable(file), safe_open(file, "pt") as opened:
        names = set(opened.keys())
        keys = [key for key in opened.keys() if not _is_scale(key, names)]  # noqa: SIM118
    while keys:
        read = 0
        with _readable(file), safe_open(file, "pt") as opened:
            while keys and read <= READ_AT_ONCE:
                key = keys.pop(0)
                if matrix := matrix_of(key, names):
                    stored = {name: opened.get_tensor(name) for name in (key, f"{key}_scale")}
                    key, tensor = matrix, unpacked_part(stored, key, BITS, str(file))
                else:
                    tensor = opened.get_tensor(key)
                read += tensor.nbytes
                yield key, tensor
                del tensor


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from error


def _wanted(key: str, own: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    keep = dtype is None or not own.is_floating_point() or key.endswith(KEEP_FLOAT32)
    return own.dtype if keep else dtype


def aliases(network: nn.Module) -> dict[str, str]:
    """Names of tensors that are one with an earlier one, or the same memory, with the earlier one's name."""
    first: dict[tuple, str] = {}
    found = {}
    for key, value in network.state_dict(keep_vars=True).items():
        same = ("one", id(value))
        if not isinstance(value, nn.Parameter) and value.numel() and value.device.type != "meta":
            same = (value.data_ptr(), value.shape, value.stride())
        if (name := first.setdefault(same, key)) != key:
            found[key] = name
    return found


def _shared_parameters(network: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """The places of each parameter that has several."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                places.setdefault(id(parameter), []).append((module, name))
    return [found for found in places.values() if len(found) > 1]


class _Unfilled(TorchFunctionMode):
    """Leaves tensors without memory alone where they would be filled: torch does that by its compiler's formulas, and
    loads the compiler for it, which takes longer than making a motion."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in FILLS:
            filled = args[0] if args else kwargs["tensor"]
            if filled.device.type == "meta":
                return filled
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Networks built within the block have parameters without memory (on the meta device), as weights are to come.
    Buffers are made: not all of them are saved with the weights. No parameter is filled with random numbers."""
    register = nn.Module.register_parameter

    def weightless(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None and parameter.device.type != "meta":
            empty = parameter.detach().to("meta")
            module._parameters[name] = type(parameter)(empty, requires_grad=parameter.requires_grad)

    nn.Module.register_parameter = weightless
    try:
        with _Unfilled():
            yield
    finally:
        nn.Module.register_parameter = register
