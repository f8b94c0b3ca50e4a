"""How much memory a run needs on each device, from the sizes of its network alone.

What training keeps of each trained parameter follows from precision, optimizer and strategy, and is exact. What it
keeps of a batch for the backward pass is a formula of the family (`activation_bytes`), for the longest rows that it
reads. An allocator needs some room of its own, which is not counted, and the libraries of a GPU about a GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mld.models.contracts.network import Network
from mld.training.muon import Muon, is_matrix
from mld.training.optimization import kind_of, make_optimizer_of
from mld.training.parallel import shard_classes, units
from mld.training.run_config import OptimizerConfig, RunConfig

GB = 1e9
CARDS = (24, 40, 80, 141)  # GB of common GPUs
TEXT_ENCODERS = {
    "google/umt5-xxl": 5_680_910_336, "Wan-AI/Wan2.1-T2V-1.3B": 5_680_910_336, "google/flan-t5-xl": 1_223_527_424,
    "google/flan-t5-large": 341_231_104, "minilm": 22_713_216, "packed_minilm": 22_331_520,
}  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """Bytes on a device. gathered: whole units of a network cut into shards, with their gradients. frozen: the
    tokenizer. activations: none where the family cannot tell."""

    weights: int
    gradients: int
    optimizer: int
    averages: int
    gathered: int
    frozen: int
    activations: int | None

    @property
    def total(self) -> int:
        return sum(value or 0 for value in vars(self).values())

    def told(self) -> str:
        parts = [f"{name} {_gb(value)}" for name, value in vars(self).items() if value]
        return ", ".join(parts) + ("; activations not known" if self.activations is None else "")


def needed(config: RunConfig, network: Network, processes: int | None = None) -> Memory:
    """What a run of that config keeps on each device. network: one without weights will do."""
    training, parallel = config.training, config.training.parallel
    processes = processes or parallel.devices * parallel.num_nodes
    sharded = parallel.strategy == "fsdp2"
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    frozen = sum(p.numel() * p.element_size() for p in network.parameters() if not p.requires_grad)
    count, size = sum(p.numel() for p in trained), 2 if parallel.precision == "bf16-true" else 4
    own = -(-count // processes) if sharded else count
    gathered = _gathered(network, count, size, parallel.precision) if sharded else 0
    window = config.data.window if network.kind == "tokenizer" else None  # others read whole clips
    rows = {"items": config.data.batch_size, "frames": window or config.data.max_frames}
    half = parallel.precision != "32-true"
    tell = getattr(network, "activation_bytes", None)
    activations = tell(**rows, half=half, again=training.activation_checkpointing) if tell else None
    if activations is not None and half and not sharded and not training.activation_checkpointing:
        activations += 2 * count if parallel.precision != "bf16-true" else 0  # autocast keeps its copies of the weights
    return Memory(
        weights=own * size, gradients=own * size, optimizer=int(own * _numbers_of(trained, training.optimizer)) * size,
        averages=own * 4 if training.ema is not None else 0, gathered=gathered, frozen=frozen, activations=activations,
    )  # fmt: skip


def _gathered(network: Network, count: int, size: int, precision: str) -> int:
    """The largest unit twice, as the next one is gathered while one computes, and its gradients; and what is outside of
    units, which stays for the whole step."""
    cut = units(network) if shard_classes(network) or network.kind != "generator" else []
    sizes = [sum(p.numel() for p in unit.parameters()) for unit in cut]
    outside = count - sum(sizes)
    unit_size = 2 if precision == "bf16-mixed" else size
    return 2 * outside * size + 3 * max(sizes, default=0) * unit_size


def _numbers_of(trained: Sequence[nn.Parameter], config: OptimizerConfig) -> float:
    """Numbers that an optimizer keeps of each of these. Muon has for the moment of its step the directions and the
    steps of all matrices beside what it keeps."""
    if kind_of(config) is not Muon or not trained:
        return optimizer_numbers(config)
    count = sum(p.numel() for p in trained)
    matrices = sum(p.numel() for p in trained if is_matrix(p))
    return (3 * matrices + 2 * (count - matrices)) / count


def optimizer_numbers(config: OptimizerConfig) -> float:
    """How many numbers an optimizer keeps of each parameter: found by a step of a small one."""
    tiny = nn.Parameter(torch.zeros(64, 64))
    tiny.grad = torch.zeros_like(tiny)
    optimizer = make_optimizer_of([{"params": [tiny]}], replace(config, groups={}))
    try:
        optimizer.step()
    except (TypeError, RuntimeError):  # one that has to be told how to compute a loss
        return 0.0
    kept = sum(v.numel() for entry in optimizer.state.values() for v in entry.values() if isinstance(v, torch.Tensor))
    return float(kept // tiny.numel() + (kept % tiny.numel() > 64) * (kept % tiny.numel()) / tiny.numel())


def describe_memory(config: RunConfig, network: Network) -> list[str]:
    """Lines of a dry run: what a device holds, and whether that fits."""
    training, parallel = config.training, config.training.parallel
    processes = parallel.devices * parallel.num_nodes
    memory = needed(config, network)
    again = ", activation checkpointing" if training.activation_checkpointing else ""
    how = f"{parallel.strategy} on {processes} device{'s' * (processes > 1)}, {parallel.precision}{again}"
    lines = [f"memory of each device ({how}, batch {config.data.batch_size}): {_gb(memory.total)} = {memory.told()}"]
    if config.text_encoder is not None:
        count = TEXT_ENCODERS.get(config.text_encoder.source)
        width = 4 if config.text_encoder.dtype == "float32" else 2
        size = f", {_gb(count * width)}" if count else ""
        lines.append(f"text encoder{size}: is read before training, which then has its cached features alone")
    return [*lines, verdict(config, network, memory)]


def verdict(config: RunConfig, network: Network, memory: Memory) -> str:
    """Whether it fits a device, in a line, and if not what would."""
    limits = device_memory(config)
    fits = [limit for limit in limits if memory.total <= limit * GB]
    if fits:
        small = [f"{limit:g}" for limit in limits if limit not in fits]
        return f"fits {min(fits):g} GB" + (f", not {' or '.join(small)} GB" if small else "")
    largest = max(vars(memory), key=lambda name: vars(memory)[name] or 0)
    why = f"most is {largest}, {_gb(vars(memory)[largest])}"
    return f"does not fit {' or '.join(f'{limit:g}' for limit in limits)} GB: {why}; {_advice(config, network, limits)}"


def _advice(config: RunConfig, network: Network, limits: Sequence[float]) -> str:
    """The first change that makes it fit the largest of the limits."""
    training = config.training
    for processes in (None, 2, 4, 8, 16, 32, 64):
        for again in dict.fromkeys((training.activation_checkpointing, True)):
            parallel = replace(training.parallel, strategy="fsdp2") if processes else training.parallel
            other = replace(training, activation_checkpointing=again, parallel=parallel)
            if needed(replace(config, training=other), network, processes).total <= max(limits) * GB:
                more = ["training.activation_checkpointing=true"] * again
                more += [f"training.parallel.strategy=fsdp2 and {processes} devices"] * bool(processes)
                return f"take {' and '.join(more)}"
    return "take a smaller data.batch_size, training.parallel.precision=bf16-true, or a smaller model"


def device_memory(config: RunConfig) -> tuple[float, ...]:
    """GB of the device: as the config says, of the GPU that is there, else of common ones."""
    if config.training.parallel.device_memory is not None:
        return (config.training.parallel.device_memory,)
    if torch.cuda.is_available() and config.training.parallel.accelerator != "cpu":
        return (round(torch.cuda.get_device_properties(0).total_memory / GB, 1),)
    return CARDS


def _gb(count: int) -> str:
    return f"{count / GB:.2f} GB" if count >= 0.1 * GB else f"{count / 1e6:.1f} MB"
