"""Where a run trains: on one device, as copies of the network (DDP), or with the network cut into shards (FSDP2).

A network cut into shards is gathered unit by unit while it computes a loss. What is computed outside the loss, in a
validation or for pictures, may call any method and may differ between processes, so for that time it is gathered whole.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from mld.checkpoint import aliases
from mld.errors import ConfigError, nearest
from mld.models.contracts.network import Network
from mld.training.run_config import ParallelConfig
from mld.training.sharded_strategy import Shards

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

HALF = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
LARGE = 1_000_000_000  # trained parameters: gathered, their state would be 12 GB in one process, 16 with `ema`


def make_strategy(config: ParallelConfig, parameters: int = 0) -> str | Strategy:
    """What Lightning is told; `ConfigError` for a strategy that it does not know or that cannot be had. parameters: how
    many are trained."""
    processes = config.devices * config.num_nodes
    if config.strategy == "auto" and processes == 1:
        return "auto"
    if config.checkpoint == "sharded" and config.strategy != "fsdp2":
        raise ConfigError("training.parallel.checkpoint 'sharded' is for strategy fsdp2, others have no shards")
    _part_at_exit()
    if config.strategy in ("auto", "ddp"):
        # a batch may hold only some of the tasks and so not touch every parameter
        return DDPStrategy(find_unused_parameters=True, gradient_as_bucket_view=True)
    if config.strategy == "fsdp2":
        if config.precision == "16-mixed":
            raise ConfigError("training.parallel: fsdp2 has no precision 16-mixed; take bf16-mixed or bf16-true")
        return Shards(processes, writes_shards(config, parameters))
    if config.strategy not in (known := StrategyRegistry.available_strategies()):
        known = ["auto", "ddp", "fsdp2", *known]
        raise ConfigError(f"training.parallel.strategy is '{config.strategy}'; {nearest(config.strategy, known)}")
    if config.strategy.startswith(("fsdp", "deepspeed_stage_3")):
        advice = "a model folder cannot be written of its shards; take fsdp2"
        raise ConfigError(f"training.parallel.strategy is '{config.strategy}': {advice}")
    return config.strategy


def writes_shards(config: ParallelConfig, parameters: int) -> bool:
    """Whether states are written shard by shard: where the config says so, else of a large network. A small one is one
    file that needs nothing to be read, and gathering it takes no time."""
    large = config.checkpoint == "auto" and parameters >= LARGE
    return config.strategy == "fsdp2" and (config.checkpoint == "sharded" or large)


@functools.cache
def _part_at_exit() -> None:
    """Once: have the processes let go of each other before Python takes down what their threads use. Lightning does so
    for nccl alone; threads of gloo that outlive it have ended a finished run with signal 11."""
    atexit.register(_part)


def _part() -> None:
    gc.collect()  # what is left of a trainer holds the connection, too
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def to_half(network: Network) -> None:
    """bf16-true: parameters in bfloat16, those of frozen parts excepted, whose tokens have to stay what they are.

    Buffers hold statistics and tables and stay, too. Operations get along with both under autocast."""
    left = {id(parameter) for parameter in _of_frozen_parts(network)}
    for parameter in network.parameters():
        if id(parameter) not in left and parameter.dtype == torch.float32:
            parameter.data = parameter.data.bfloat16()


def units(network: Network) -> list[nn.Module]:
    """The modules that a network is a row of: those of the classes that it names in `shard_units`; if it names none,
    the members of its module lists (of the outermost, where lists are nested). None of frozen parts."""
    named = shard_classes(network)
    whole_parts = [part for part in _modules_of_parts(network) if _frozen(part)]
    outside = {id(module) for part in whole_parts for module in part.modules()}
    found: list[nn.Module] = []
    inside: set[int] = set()  # units are not nested
    for module in network.modules():
        if id(module) in outside or id(module) in inside:
            continue
        members = [module] if named and isinstance(module, named) else []
        if not named and isinstance(module, nn.ModuleList):
            members = list(module)
        for unit in members:
            inside.update(map(id, unit.modules()))
            if any(True for _ in unit.parameters()):
                found.append(unit)
    return found


def shard_classes(network: Network) -> tuple[type[nn.Module], ...]:
    """Classes of the modules that are gathered at once. They take part in every batch, whatever it holds: processes
    gather in one order."""
    return tuple(getattr(type(network), "shard_units", ()))


def shard(network: Network, mesh: DeviceMesh, half: bool = False) -> None:
    """Cut the network into shards over the processes of the mesh; its frozen parts stay whole in each of them. half:
    units are gathered in bfloat16, which autocast would compute in anyway: otherwise each process would keep a whole
    network of its copies for the backward pass. Gradients are added up in float32.

    A generator that names no `shard_units` is gathered as one: which of its modules a batch needs depends on the tasks
    in it."""
    if isinstance(network, FSDPModule):
        return
    kept = set(_of_frozen_parts(network))
    for unit in units(network) if shard_classes(network) or network.kind != "generator" else []:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, **({"mp_policy": HALF} if half else {}))
    within = {id(parameter) for unit in _sharded(network) for parameter in unit.parameters()}
    fully_shard(network, mesh=mesh, reshard_after_forward=False, ignored_params=kept)
    names = [name for name, p in network.named_parameters() if id(p) not in within and p.requires_grad]
    network.loss = functools.partial(_touching, network, network.loss, names)
    register_fsdp_forward_method(network, "loss")


def _touching(network: Network, loss: Any, names: list[str], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """`loss` with a gradient, be it zero, for each of the named parameters: a batch may hold only some of the tasks,
    and processes that have gradients of different parameters cannot join them."""
    terms = loss(*args, **kwargs)
    if torch.is_grad_enabled():
        nothing = sum(network.get_parameter(name).flatten()[0] * 0.0 for name in names)
        first = next(name for name, value in terms.items() if value.requires_grad)
        terms[first] = terms[first] + nothing
    return terms


@contextlib.contextmanager
def whole(network: Network) -> Iterator[None]:
    """Within the block every process has the whole network and computes by itself. Nothing happens to one not cut."""
    units = _sharded(network)
    if not units:
        yield
        return
    network.set_reshard_after_forward(False)
    for unit in units:
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
        network.set_reshard_after_forward(True)
        network.set_reshard_after_forward(False, recurse=False)


class FullState(Mapping[str, Tensor]):
    """The state of a network cut into shards, each tensor once: it is gathered when it is read, onto the CPU, and all
    processes have to read the same ones in the same order. `items` tell shapes and kinds alone, on the meta device."""

    def __init__(self, network: Network) -> None:
        twice = aliases(network)  # a network may put a tensor of its state together, which takes all processes
        self._shards = {key: value for key, value in network.state_dict().items() if key not in twice}

    def __getitem__(self, key: str) -> Tensor:
        value = self._shards[key]
        return (value.full_tensor() if isinstance(value, DTensor) else value).cpu()

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)

    def items(self) -> Any:
        shapes = [(key, value.shape, value.dtype) for key, value in self._shards.items()]
        return [(key, torch.empty(shape, dtype=dtype, device="meta")) for key, shape, dtype in shapes]


def full_state(network: Network) -> FullState | None:
    """The state of a network cut into shards, for all processes; None for a network that is whole."""
    return FullState(network) if _sharded(network) else None


def _sharded(network: nn.Module) -> list[FSDPModule]:
    return [module for module in network.modules() if isinstance(module, FSDPModule)]


def _modules_of_parts(network: Network) -> list[nn.Module]:
    return [part for part in network.parts.values() if isinstance(part, nn.Module)]


def _of_frozen_parts(network: Network) -> list[nn.Parameter]:
    return [parameter for part in _modules_of_parts(network) if _frozen(part) for parameter in part.parameters()]


def _frozen(module: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in module.parameters())
