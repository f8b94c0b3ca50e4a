"""Samples per second and peak memory of a training step in each stage of a config file, networks with random weights.

    python -m benchmarks.train_step [--family motiongpt3] [--steps 10] [key=value ...]     stages of its quickstart
    python -m benchmarks.train_step --cfg FILE [--steps 10] [key=value ...]
    python -m benchmarks.train_step --family motionmillion --published 44M [--batch 8] [--steps 3] [--text-layers 24]

Prints JSON. The last compares a step of a published size with the published loop (`benchmarks/train_million.py`).

A stage over a tokenizer of whole clips is measured with its latents cached and with clips encoded in every step;
`speedup` is their ratio and `cache` what making the cache cost. Every case has a process of its own: memory is the
largest resident size of that process (on a GPU: allocated there) less what it had before its network was made. A step
is batch, loss, gradients and update. Seconds on a CPU are of processor time: other programs do not count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks import train_million
from benchmarks.memory import T5_XL_LAYERS
from mld.models.contracts.network import Network
from mld.models.families.motionmillion.config import SIZES
from mld.training.data import Sources, TrainingData
from mld.training.dry_run import untrained
from mld.training.module import MONITOR
from mld.training.networks import prepare_captions
from mld.training.optimization import make_optimizer
from mld.training.parallel import to_half
from mld.training.run_config import RunConfig, load_runs
from mld.training.stages import KINDS, train_tokens

DTYPES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16}  # of autocast
QUICKSTARTS = {
    "motiongpt": "configs/quickstart/all.yaml",
    **{name: f"configs/quickstart/{name}_all.yaml" for name in ("motiongpt3", "motionstreamer", "motionmillion")},
}
WARM_UP = 3


def main(arguments: Sequence[str]) -> None:
    options = _parse(arguments)
    if options.published:
        settings = options.batch, options.steps or 3, options.text_layers, options.seed
        print(json.dumps(train_million.measure(options.published, *settings), indent=2))
        return
    runs = load_runs(options.cfg, options.overrides)
    report: dict[str, Any] = {"config": options.cfg, "torch": torch.__version__, "device": device(), "stages": {}}
    for number, run in enumerate(runs):
        report["stages"][run.name] = _stage(options, number)
    print(json.dumps(report, indent=2))


def _stage(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Numbers of a stage, both ways where there are latents to be kept."""
    found = _apart(options, number, cached=True)
    if "cache" not in found:
        return found
    cache, without = found.pop("cache"), _apart(options, number, cached=False)
    speedup = found["samples_per_second"] / without["samples_per_second"]
    return {"with_cache": found, "without_cache": without, "speedup": round(speedup, 2), "cache": cache}


def _apart(options: argparse.Namespace, number: int, cached: bool) -> dict[str, Any]:
    """`measure` in a process that starts from nothing."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_quietly, options.cfg, options.overrides, number, cached, options.steps or 10).result()


def _quietly(*arguments: Any) -> dict[str, Any]:
    """`measure` that leaves the standard output to the report."""
    with contextlib.redirect_stdout(sys.stderr):
        return measure(*arguments)


def measure(path: str, overrides: Sequence[str], number: int, cached: bool, steps: int) -> dict[str, Any]:
    """Numbers of stage `number`, with the latents of its clips ready (cached) or not."""
    runs = load_runs(path, overrides)
    config = runs[number]
    config.training.cache_latents = cached
    torch.set_num_threads(config.training.num_threads or 1)
    torch.manual_seed(config.seed)
    kind = KINDS.get(config.stage, "examples")
    data = TrainingData(config.data, kind, config.seed, max_validation_clips=1, sources=Sources())
    data.train_set.lengths  # noqa: B018  (clips are read before memory is measured)
    before = memory()
    earlier: dict[Path, Network] = {}
    for run in runs[: number + 1]:
        network = earlier[run.folder / "model"] = untrained(run, earlier, weights=True)
        if run is runs[0]:
            network.measure(data.train_source[i].features for i in range(len(data.train_source)))
    network.to(device())
    if config.training.parallel.precision == "bf16-true":
        to_half(network)
    if config.stage in ("pretrain", "instruct"):
        prepare_captions(config, network, data)
    found = _cache(config, network, data) if kind == "examples" else {}
    return {**_steps(config, network, data, steps), "peak_memory_mb": round(memory() - before, 1), **found}


def _cache(config: RunConfig, network: Network, data: TrainingData) -> dict[str, Any]:
    """Tokens for the data, in a folder that does not outlive the file's opening."""
    del data.train_set  # made anew, with tokens
    with tempfile.TemporaryDirectory() as folder:
        config.output, start = folder, clock()
        data.tokens = train_tokens(config, network, data)
        if data.tokens is None:
            return {}
        next(iter(data.tokens.values()))  # opens the files
        if network.tokenizer.layout.codebook_size:  # which are never encoded anew
            return {}
        size = data.tokens.bytes() / 1e6
        return {"cache": {"seconds": round(clock() - start, 2), "mb": round(size, 2), "clips": len(data.tokens)}}


def _steps(config: RunConfig, network: Network, data: TrainingData, steps: int) -> dict[str, Any]:
    network.train()
    optimizer = make_optimizer(network, config.training.optimizer)
    dtype, times = DTYPES.get(config.training.parallel.precision), []
    batches = iter(data.train_dataloader())
    for _ in range(WARM_UP + steps):
        start = clock()
        batch = next(batches)
        batch = batch.to(device()) if hasattr(batch, "to") else batch
        with torch.autocast(device(), dtype or torch.bfloat16, enabled=dtype is not None):
            terms = network.loss(batch)
        sum(value for name, value in terms.items() if not name.startswith(MONITOR)).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(clock() - start)
    second = statistics.median(times[WARM_UP:])
    return {"samples_per_second": round(config.data.batch_size / second, 1), "step_ms": round(1000 * second, 1)}


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def clock() -> float:
    """Seconds: of this process on a CPU, of the wall when a GPU works."""
    if device() == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def memory() -> float:
    """The most memory in MB that this process has had."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--family", choices=QUICKSTARTS, default="motiongpt3",
                         help="whose quickstart (default: motiongpt3)")
    command.add_argument("--cfg", help="another config file of some stages")
    command.add_argument("--steps", type=int, help="measured steps (default: 10; with --published: 3 rounds, the best)")
    command.add_argument("--published", choices=list(SIZES), metavar="SIZE",
                         help="of motionmillion (44M to 7B): its step beside the published loop")
    command.add_argument("--batch", type=int, default=8, help="of --published (default: 8)")
    command.add_argument("--text-layers", type=int, default=T5_XL_LAYERS, metavar="N",
                         help="of the text encoder of --published (default: all)")
    command.add_argument("--seed", type=int, default=0, help="of the clips of --published (default: 0)")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = command.parse_args(arguments)
    if options.published and (options.family != "motionmillion" or options.cfg or options.overrides):
        command.error("--published goes with --family motionmillion alone")
    options.cfg = options.cfg or QUICKSTARTS[options.family]
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
