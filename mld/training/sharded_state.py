"""A state whose tensors lie in a folder, each process's part in a file of its own (torch.distributed.checkpoint).

No process ever holds more than its shard. `last.ckpt` is then a small file with everything but tensors, which names the
folder, `step_N.shards`, and the length and CRC-32 of its files. It takes its name when they are written: a state is
whole or not there. Names of tensors begin with what they are of, `PARTS`.
"""

from __future__ import annotations

import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.usable import fault

WEIGHTS, AVERAGES, OPTIMIZER = PARTS = ("state_dict/", "averaged/", "optimizer/")
SHARDS = "shards"  # key of a state that is such, and suffix of its folder
BLOCK = 16 * 2**20


def save_tensors(tensors: dict[str, Tensor], folder: Path) -> dict[str, tuple[int, int]]:
    """Write tensors, of which each process has its shard, into an empty folder; length and CRC of all files by name.
    All processes have to ask. `OSError` with the file's name where there is no room."""
    import torch.distributed.checkpoint as dcp

    try:
        dcp.save(tensors, checkpoint_id=folder)
    except dcp.api.CheckpointException as error:
        for failure, _ in error.failures.values():
            if isinstance(failure, OSError):
                raise OSError(failure.errno, failure.strerror, failure.filename or str(folder)) from error
        raise
    rank, _ = _rank_and_count()
    mine = (f"__{rank}_", ".") if not rank else (f"__{rank}_",)  # the first process writes the list of all, too
    files = [file for file in folder.iterdir() if file.name.startswith(mine)]
    with ThreadPoolExecutor(4) as pool:
        own = dict(zip((file.name for file in files), pool.map(_sum, files)))
    return {name: found for part in everyone(own) for name, found in part.items()}


def everyone(value: Any) -> list[Any]:
    """What all processes say, in order."""
    if (count := _rank_and_count()[1]) == 1:
        return [value]
    said = [None] * count
    torch.distributed.all_gather_object(said, value)
    return said


def _rank_and_count() -> tuple[int, int]:
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def load_tensors(tensors: dict[str, Tensor], folder: Path) -> None:
    """Read into tensors, whole ones or shards, in place. All processes have to ask."""
    import torch.distributed.checkpoint as dcp

    dcp.load(tensors, checkpoint_id=folder)


def stored(folder: Path) -> dict[str, Tensor]:
    """Shape and kind of the tensors in a folder, by name, as tensors without memory."""
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    found = FileSystemReader(folder).read_metadata().state_dict_metadata
    return {
        name: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
        for name, entry in found.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def of_part(tensors: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Those of a part, by their names within it."""
    return {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)}


def joined(state: dict[str, Any], file: Path, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """The state in `file` as one process writes it, its tensors read whole; as it is where it is one of those."""
    if SHARDS not in state:
        return state
    import torch.distributed.checkpoint as dcp

    folder = file.parent / state[SHARDS]["folder"]
    kept = {name: like for name, like in stored(folder).items() if name.startswith(tuple(parts))}
    tensors = {name: torch.empty(like.shape, dtype=like.dtype) for name, like in kept.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one process reads, as is meant
        dcp.load(tensors, checkpoint_id=folder, no_dist=True)
    state = {**state, "state_dict": of_part(tensors, WEIGHTS)}
    del state[SHARDS]
    if "averaged" in state:
        state["averaged"] = {**state["averaged"], "averages": of_part(tensors, AVERAGES)}
    if OPTIMIZER in parts:
        state["optimizer_states"] = [numbered(of_part(tensors, OPTIMIZER), state.pop("optimizer"))]
    return state


def numbered(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The state of an optimizer as torch has it. tensors: by `parameter/key`; rest: groups and what is no tensor."""
    number = {name: i for i, name in enumerate(name for group in rest["param_groups"] for name in group["params"])}
    entries: dict[int, dict[str, Any]] = {}
    for place, value in {**tensors, **rest["values"]}.items():
        name, _, key = place.rpartition("/")
        entries.setdefault(number[name], {})[key] = value
    groups = [{**group, "params": [number[name] for name in group["params"]]} for group in rest["param_groups"]]
    return {"state": dict(sorted(entries.items())), "param_groups": groups}


def unusable(tensors: Mapping[str, Tensor]) -> str:
    """The first weight of all shards that nothing can be computed with, and why; "" for none. All have to ask."""
    local = {name: value.to_local() if hasattr(value, "to_local") else value for name, value in tensors.items()}
    told = next((f"{name} {what}" for name, value in local.items() if (what := fault(value))), "")
    return next(filter(None, everyone(told)), "")


def damaged(state: Mapping[str, Any], file: Path) -> str:
    """What is wrong with the shards of a state, "" for nothing. Reads all of them."""
    known = state[SHARDS]
    folder, files = file.parent / known["folder"], known["files"]
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(files, pool.map(lambda name: _sum(folder / name), files)))
    wrong = next((name for name, value in found.items() if value != tuple(files[name])), "")
    return f"damaged ({folder.name}/{wrong})" if wrong else str(known["unusable"])


def _sum(file: Path) -> tuple[int, int]:
    """Length and CRC-32 of a file; (0, 0) of one that is missing."""
    length = crc = 0
    if file.is_file():
        with open(file, "rb") as stream:
            while block := stream.read(BLOCK):
                length, crc = length + len(block), zlib.crc32(block, crc)
    return length, crc


def remove_unnamed(checkpoints: Path, read: Callable[[Path], dict[str, Any]]) -> None:
    """Remove folders of shards that no state names; none where a state cannot be read."""
    folders = sorted(checkpoints.glob(f"*.{SHARDS}"))
    if not folders:
        return
    try:
        states = [read(file) for file in sorted(checkpoints.glob("*.ckpt"))]
    except CheckpointError:
        return
    named = {state[SHARDS]["folder"] for state in states if SHARDS in state}
    for folder in folders:
        if folder.name not in named:
            gone = folder.with_name(f".{folder.name}.{os.getpid()}.old")  # so that no half of it has its name
            os.replace(folder, gone)
            shutil.rmtree(gone)
