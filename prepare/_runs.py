"""What `prepare.tokens` and `prepare.text` share: the run that they work for, by a config or by settings alone, and
options that say where jobs run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mld.data.config import DataConfig
    from mld.training.run_config import RunConfig


def add_options(made: argparse.ArgumentParser) -> None:
    made.add_argument("--cfg", metavar="FILE", help="config of the training run: its data, model and folders are used")
    made.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as of train: data.root=FOLDER")
    made.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one a processor)")
    made.add_argument("--engine", default="processes", metavar="NAME",
                      help="processes (default), or ray: Ray Data, here or in the cluster of RAY_ADDRESS")
    made.add_argument("--device", default="cpu", help="that processes compute on (default: cpu)")


def run_of(args: argparse.Namespace, defaults: dict[str, Any] | None = None) -> RunConfig:
    """The generator run of `--cfg`, or one of the settings over `defaults` alone.

    `RequestError` where a config has no generator, or several on different data."""
    from mld.config import Tree, build_tree, read_overrides
    from mld.errors import RequestError
    from mld.packaged import find_config
    from mld.training.run_config import RunConfig, load_runs

    if not args.cfg:
        tree = Tree({"name": "prepare", "stage": "pretrain", "init_from": "none", **(defaults or {})}, {})
        return build_tree(read_overrides(args.overrides).over(tree), RunConfig)
    runs = [run for run in load_runs(find_config(args.cfg), args.overrides) if run.stage in ("pretrain", "instruct")]
    if not runs:
        raise RequestError(f"{args.cfg}: no stage of it trains a generator; name the config of one that does")
    if any(replace(run.data, tasks={}, instructions="") != replace(runs[0].data, tasks={}, instructions="")
           for run in runs):  # fmt: skip
        raise RequestError(f"{args.cfg}: its stages have different data; name the config of one stage")
    return runs[0]


def placed(cfg: DataConfig) -> DataConfig:
    """With absolute paths: other processes and machines may stand elsewhere."""
    def absolute(root: str) -> str:
        return os.path.abspath(Path(root).expanduser()) if root else root

    entries = [replace(entry, root=absolute(entry.root)) for entry in cfg.sources]
    return replace(cfg, root=absolute(cfg.root), sources=entries)


def model_place(folder: str) -> str:
    """A model folder by its absolute path; a hub id as it is."""
    return os.path.abspath(folder) if Path(folder).exists() else folder


def stated(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)
