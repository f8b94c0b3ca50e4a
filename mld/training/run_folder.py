"""A run folder: what is in it, and whether a run in it can begin, go on, or is finished.

`config.yaml`, `checkpoints/{last,best,step_N}.ckpt` (full state), `model/` and `best_model/` (model folders),
`samples/`, `metrics.csv`, `tensorboard/`, `clips.csv` (what it learns from), and `progress.json`, which says for the
eye how far the last checkpoint is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mld.checkpoint import PROVENANCE, weights_hash
from mld.config import to_plain, to_yaml
from mld.errors import CheckpointError, ConfigError
from mld.files import atomically, parse_json, recover, write_text
from mld.reading import read_text
from mld.training.run_config import RunConfig, load_run
from mld.training.sharded_state import SHARDS, WEIGHTS, of_part, remove_unnamed, stored
from mld.training.state_file import flaw, is_whole, read_state

# Settings that may differ when a run goes on: they change what is watched or where it runs, not what is learnt.
OPERATIONAL = {"name", "output", "init_from", "data.num_workers", "data.root", "text_cache", "text_encoder.most_gb"} | {
    f"training.{name}"
    for name in (
        *("num_threads", "compile", "activation_checkpointing", "peak_tflops", "log_every_steps"),
        *("validate_every_steps", "checkpoint_every_steps"),
        *("keep_checkpoints", "max_validation_clips", "samples", "sample_texts", "tokens"),
        *(f"parallel.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "checkpoint")),
        "parallel.device_memory",
    )
}

HALF_WRITTEN = re.compile(r".+\.partial|\..+\.(new|old)(\..+)?")


@dataclass(frozen=True)
class Progress:
    """step: of the last checkpoint. max_steps: of the run then. parent: fingerprint of the `init_from` weights."""

    step: int = 0
    max_steps: int = 0
    parent: str = ""

    @property
    def finished(self) -> bool:
        return 0 < self.max_steps <= self.step


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.model = path / "model"
        self.best_model = path / "best_model"
        self.samples = path / "samples"
        self.clips = path / "clips.csv"
        self.wandb_id = path / "wandb_id"

    @property
    def progress(self) -> Progress:
        """How far the run is, as its last checkpoint has it; step 0 if there is none."""
        if not self.last.is_file():
            return Progress()
        state = self.last_state()
        if "progress" in state:
            return Progress(**state["progress"])
        return self._recorded() or Progress(state["global_step"])  # as earlier versions had it

    def last_state(self) -> dict[str, Any]:
        """The last checkpoint, its tensors left on disk until they are read; `CheckpointError` if it is damaged."""
        return read_state(self.last)

    def last_weights(self) -> dict[str, Any]:
        """The weights of the last checkpoint, left on disk; of one in shards without their numbers."""
        state = self.last_state()
        if SHARDS in state:
            return of_part(stored(self.checkpoints / state[SHARDS]["folder"]), WEIGHTS)
        return state["state_dict"]

    def _recorded(self) -> Progress | None:
        """What `progress.json` says; none where it is missing or damaged."""
        try:
            return Progress(**parse_json(read_text(self.path / "progress.json")))
        except (OSError, ValueError, TypeError):
            return None

    def record(self, progress: Progress) -> None:
        """Write how far the run is."""
        write_text(self.path / "progress.json", json.dumps(vars(progress)) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process trains in this folder; `CheckpointError` if one does now.

        The system takes the lock from a process that is killed."""
        from filelock import FileLock, Timeout
        from lightning.pytorch.utilities.rank_zero import rank_zero_only

        if rank_zero_only.rank:  # the first process of a run holds it for all
            yield
            return
        file = self.path.with_name(f".{self.path.name}.lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(file)
            lock.acquire(timeout=0)
        except Timeout:
            advice = "wait for it, stop it, or give another 'name' or 'output'"
            raise CheckpointError(f"{self.path}: another process trains in this folder; {advice}") from None
        except NotImplementedError:  # a file system without locks
            yield
            return
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    def begin(self, config: RunConfig) -> None:
        """Make the folder and write the resolved config into it."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, to_yaml(config))

    def mend(self, keep: int) -> None:
        """Put right what a kill may have left: half-written files, states too many, `progress.json` of another step."""
        for folder in (self.path, self.checkpoints, self.samples):
            for path in sorted(folder.glob("*")):
                if HALF_WRITTEN.fullmatch(path.name):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.heal()
        progress = self.progress
        self.tidy(keep, progress.step)
        if progress.step and self._recorded() != progress:
            self.record(progress)

    def heal(self) -> None:
        """Where the last checkpoint is damaged, holds what is no number, or is gone, the newest whole one takes its
        place, and says so. `CheckpointError` if the last one is of no use and there is no other."""
        there = self.last.is_file()
        wrong = flaw(self.last) if there else "missing"
        if not wrong:
            return
        names = "*.ckpt" if there else "step_*.ckpt"  # the best one may be of a step that was never finished
        others = [path for path in self.checkpoints.glob(names) if path != self.last and is_whole(path)]
        if others:
            newest = max(others, key=lambda path: read_state(path)["global_step"])
            with atomically(self.last) as new:
                shutil.copyfile(newest, new)
            print(f"{self.last}: {wrong}; going on from {newest.name}, of step {self.progress.step:,}", file=sys.stderr)
        elif there:
            advice = "no other in its folder is whole; put a copy in its place, or start anew (--fresh)"
            kind = "damaged or not a checkpoint" if wrong == "damaged" else wrong
            raise CheckpointError(f"{self.last}: {kind}; {advice}")

    def tidy(self, keep: int, step: int) -> None:
        """Remove states besides the `keep` newest up to `step`, of which `last` is."""
        states = sorted(self.checkpoints.glob("step_*.ckpt"))
        known = [state for state in states if state.stem <= f"step_{step:08d}"]
        for state in [state for state in states if state not in known[-keep or len(known) :]]:
            state.unlink()
        remove_unnamed(self.checkpoints, read_state)

    def has_model(self) -> bool:
        """Whether the model folder is there and of the last checkpoint's step."""
        recover(self.model)
        recover(self.best_model)
        try:
            origin = parse_json(read_text(self.model / PROVENANCE))
        except (OSError, ValueError):
            return False
        return isinstance(origin, dict) and origin.get("step") == self.progress.step

    def check_same(self, config: RunConfig, parent: str) -> None:
        """`ConfigError` when the run in this folder was made with other settings or from another parent model."""
        saved = flatten(to_plain(load_run(self.config_file)))
        wanted = flatten(to_plain(config))
        changed = [key for key in sorted({*saved, *wanted} - OPERATIONAL) if saved.get(key) != wanted.get(key)]
        state = "a finished" if self.progress.finished else "an unfinished"
        advice = f"go on with its own settings (--resume {self.path}), start anew (--fresh), or give another 'name'"
        if changed:
            first = ", ".join(f"{key} {saved.get(key)!r} -> {wanted.get(key)!r}" for key in changed[:3])
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise ConfigError(f"{self.path} holds {state} run with other settings ({first}{more}); {advice}")
        if self.progress.parent != parent:
            raise ConfigError(
                f"{self.path} holds {state} run that started from another {config.init_from}; start anew (--fresh)"
            )

    def resumed(self, overrides: Sequence[str]) -> RunConfig:
        """The run's own config with overrides, which may not touch what the saved state was made for."""
        for override in overrides:
            key = override.partition("=")[0]
            if key not in OPERATIONAL and key.split(".")[0] not in ("training", "losses"):
                raise ConfigError(
                    f"command line: '{key}' cannot change in a run that goes on (training.* and losses.* can);"
                    " start a new run with another 'name'"
                )
        wanted = load_run(self.config_file, overrides)
        before, now = (config.training.optimizer.name for config in (load_run(self.config_file), wanted))
        if before != now:
            raise ConfigError(
                f"command line: training.optimizer.name cannot change from {before} to {now} in a run that goes on, its"
                " state is of the former; start a new run from its weights (init_from) with another 'name'"
            )
        return wanted

    def matching(self, configs: Sequence[RunConfig], path: str) -> RunConfig:
        """The one of the runs in the file `path` that this folder was made with; `ConfigError` if there is none."""
        name = load_run(self.config_file).name
        for config in configs:
            if config.name == name:
                self.check_same(config, fingerprint(config.init_from))
                return config
        names = ", ".join(config.name for config in configs)
        raise ConfigError(f"{self.path} is a run of '{name}', {path} has {names}; leave out --cfg to go on with it")

    def set_aside(self) -> Path | None:
        """Rename an existing folder out of the way; its new path."""
        if not self.path.exists():
            return None
        aside = self.path.with_name(f"{self.path.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
        os.replace(self.path, aside)
        return aside


def open_run(path: str | Path) -> RunFolder:
    """The run folder at `path`; `CheckpointError` if there is nothing to go on with."""
    run = RunFolder(Path(path))
    if not run.config_file.is_file():
        raise CheckpointError(f"{path}: not a run folder, it has no config.yaml")
    run.heal()
    if not run.last.is_file():
        raise CheckpointError(f"{path}: no checkpoint to go on with ({run.last} is missing)")
    return run


def fingerprint(model_folder: str | Path | None) -> str:
    """A short hash of a model folder's weights; "" for none."""
    return weights_hash(Path(model_folder))[:16] if model_folder else ""


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else key)
    return flat
