"""The sizes of MotionMillion and the memory that training them takes, as the table of docs/training.md.

    python -m benchmarks.model_sizes [--devices 8] [--write docs/training.md]

Nothing is built but outlines without weights: the numbers are those of `train --dry-run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mld.checkpoint import without_weights
from mld.files import write_text
from mld.models.contracts.network import Network
from mld.models.families.motionmillion.config import SIZES
from mld.training.dry_run import untrained
from mld.training.memory import GB, needed
from mld.training.run_config import RunConfig, load_runs

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs" / "motionmillion"
BEGIN, END = "<!-- python -m benchmarks.model_sizes --write docs/training.md -->", "<!-- end -->"


def rows(devices: int) -> Iterator[tuple[str, ...]]:
    """Size, blocks, parameters, GB of a device: alone, with activation checkpointing, in shards with it."""
    (tokenizer,) = load_runs(CONFIGS / "tokenizer.yaml", ["data.root=."])
    with without_weights():
        codes = untrained(tokenizer, {})
    for name, (layers, heads, width) in SIZES.items():
        (run,) = load_runs(CONFIGS / "t2m.yaml", ["data.root=.", f"name={name}", f"model.size={name}"])
        network = untrained(run, {Path(run.init_from): codes})
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        alone = (total(run, network, 1, "auto", again) for again in (False, True))
        shards = total(run, network, devices, "fsdp2", True)
        yield name, f"{layers} x {width}, {heads} heads", f"{trained / 1e6:,.0f} M", *alone, shards


def total(run: RunConfig, network: Network, devices: int, strategy: str, again: bool) -> str:
    parallel = replace(run.training.parallel, devices=devices, strategy=strategy)
    training = replace(run.training, parallel=parallel, activation_checkpointing=again)
    return f"{needed(replace(run, training=training), network).total / GB:.1f}"


def table(devices: int) -> str:
    heading = ("size", "blocks", "parameters", "one device", "activation checkpointing", f"fsdp2 on {devices}, too")
    lines = [heading, ("---",) * len(heading), *rows(devices)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--devices", type=int, default=8, metavar="N", help="of the last column (default: 8)")
    options.add_argument("--write", metavar="FILE", type=Path, help="put the table between its marks in this file")
    given = options.parse_args()
    made = table(given.devices)
    print(made)
    if given.write:
        before, rest = given.write.read_text(encoding="utf-8").split(BEGIN)
        write_text(given.write, f"{before}{BEGIN}\n{made}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
