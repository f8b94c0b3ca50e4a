"""The strategy `fsdp2`: a network cut into shards, and its state, gathered into one file or written shard by shard."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from mld.files import replacing
from mld.training.sharded_state import (
    AVERAGES,
    OPTIMIZER,
    SHARDS,
    WEIGHTS,
    load_tensors,
    of_part,
    save_tensors,
    stored,
    unusable,
)
from mld.training.state_file import write_state

GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)
FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
# the optimizer remembers nothing of a parameter that never had a gradient
OF_OPTIMIZER = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
OWN_SHARD = StateDictOptions(strict=False)


class Shards(ModelParallelStrategy):
    """Reads a state of any strategy: a run may go on in more or fewer processes. sharded: it writes a folder of shards,
    of which each process has its own; otherwise a file, as one process does.

    Lightning counts parameters of the optimizer among all of the module's, frozen ones included; here as torch does."""

    def __init__(self, processes: int, sharded: bool = False) -> None:
        super().__init__(processes, 1, save_distributed_checkpoint=sharded)
        self.sharded = sharded
        self._written: dict[str, Any] = {}  # what was said of the last folder, which two states of a step share

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        optimizer = getattr(optimizer, "_optimizer", optimizer)
        if self.sharded:
            return get_optimizer_state_dict(self.model, optimizer, options=StateDictOptions(cpu_offload=True))
        state = get_optimizer_state_dict(self.model, optimizer, options=GATHERED)
        if self.global_rank:
            return state
        number = {name: i for i, name in enumerate(self._names(optimizer))}
        groups = [{**group, "params": [number[name] for name in group["params"]]} for group in state["param_groups"]]
        return {"state": {number[name]: value for name, value in state["state"].items()}, "param_groups": groups}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        if not self.sharded:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        path = Path(self.broadcast(str(filepath)))
        weights = checkpoint.pop("state_dict")
        tensors = {WEIGHTS + name: value for name, value in weights.items()}
        if "averaged" in checkpoint:
            averaged = checkpoint["averaged"]
            tensors |= {AVERAGES + name: value for name, value in averaged["averages"].items()}
            checkpoint["averaged"] = {"updates": averaged["updates"]}
        (state,) = checkpoint.pop("optimizer_states")
        flat = _flat(state)
        tensors |= {OPTIMIZER + place: value for place, value in flat.items() if isinstance(value, Tensor)}
        rest = {place: value for place, value in flat.items() if not isinstance(value, Tensor)}
        checkpoint["optimizer"] = {"param_groups": state["param_groups"], "values": rest}
        name = f"step_{checkpoint['global_step']:08d}.{SHARDS}"
        if self._written.get("folder") != name:
            self._written = {"folder": name, **self._write(tensors, path.parent / name), "unusable": unusable(weights)}
        if self.is_global_zero:
            write_state({**checkpoint, SHARDS: self._written}, path)

    def _write(self, tensors: dict[str, Tensor], folder: Path) -> dict[str, Any]:
        """A folder that is there when all have written their files into it."""
        with replacing(folder) if self.is_global_zero else contextlib.nullcontext() as new:
            files = save_tensors(tensors, Path(self.broadcast(str(new))))
        return {"files": files}

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        path = Path(self.broadcast(str(checkpoint_path)))
        checkpoint = torch.load(path, map_location="cpu", mmap=True, weights_only=weights_only)
        if SHARDS in checkpoint:
            self._load_shards(checkpoint, path.parent / checkpoint[SHARDS]["folder"])
            return checkpoint
        set_model_state_dict(self.model, checkpoint.pop("state_dict"), options=FROM_FIRST)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"]):
            names = self._names(optimizer)
            groups = [{**group, "params": [names[i] for i in group["params"]]} for group in state["param_groups"]]
            named = {"state": {names[i]: value for i, value in state["state"].items()}, "param_groups": groups}
            set_optimizer_state_dict(self.model, optimizer, optim_state_dict=named, options=OF_OPTIMIZER)
        return checkpoint

    def _load_shards(self, checkpoint: dict[str, Any], folder: Path) -> None:
        """Each process reads what it needs of the files, straight into its shards."""
        there = stored(folder)
        weights = get_model_state_dict(self.model)
        (optimizer,) = self.optimizers
        state = get_optimizer_state_dict(self.model, optimizer)
        tensors = {WEIGHTS + name: value for name, value in weights.items()}
        tensors |= {OPTIMIZER + place: value for place, value in _flat(state).items() if isinstance(value, Tensor)}
        averaged = self.lightning_module.averaged
        if averaged is not None and checkpoint.get("averaged", {}).get("updates"):
            tensors |= {AVERAGES + name: value for name, value in averaged.blank().items()}
        load_tensors(loaded := {name: value for name, value in tensors.items() if name in there}, folder)
        set_model_state_dict(self.model, of_part(loaded, WEIGHTS), options=OWN_SHARD)
        known = of_part(loaded, OPTIMIZER) | checkpoint["optimizer"]["values"]
        named: dict[str, dict[str, Any]] = {}
        for place, value in known.items():
            name, _, key = place.rpartition("/")
            named.setdefault(name, {})[key] = value
        groups = checkpoint["optimizer"]["param_groups"]
        whole = {"state": named, "param_groups": groups}
        set_optimizer_state_dict(self.model, optimizer, optim_state_dict=whole, options=OWN_SHARD)
        if "averaged" in checkpoint:
            checkpoint["averaged"]["averages"] = of_part(loaded, AVERAGES)
        checkpoint["optimizer_states"] = [whole]

    def _names(self, optimizer: Optimizer) -> list[str]:
        """Names of the parameters in the order in which torch numbers them."""
        known = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return [known[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer remembers, by `parameter/key`."""
    return {f"{name}/{key}": value for name, entry in state["state"].items() for key, value in entry.items()}
