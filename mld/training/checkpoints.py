"""Checkpoints of a run, and a clean stop. After a kill at any moment the same command ends as if nothing had happened.

Everything that a step leaves behind (its validation, the best model so far, its row of metrics, the model folder) is
written before the checkpoint of that step takes its name, and written again by the steps that a killed run repeats. So
`last.ckpt` is never ahead of what follows from it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from tqdm import tqdm

from mld.checkpoint import save_model
from mld.training.callbacks import Stopped
from mld.training.module import TrainingModule
from mld.training.parallel import full_state
from mld.training.run_folder import Progress, RunFolder
from mld.training.sharded_state import AVERAGES, WEIGHTS, joined
from mld.training.state_file import write_state

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1")  # not all systems have all; the last is SLURM's


class PlainFiles(TorchCheckpointIO):
    """Writes a checkpoint to its path, without a copy of it in memory or in a temporary folder first. Reads one whose
    tensors are in shards as a whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_state(checkpoint, path)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return joined(super().load_checkpoint(path, *args, **kwargs), Path(path))


class Checkpoints(Callback):
    """Saves the full state and the model folder, every so many steps, at the end, and when a signal asks to stop.

    `best` has the lowest validation loss so far. A step that is validated is saved after its validation."""

    def __init__(self, run: RunFolder, every: int, keep: int, parent: str, provenance: dict[str, Any]) -> None:
        self.run, self.every, self.keep, self.parent, self.provenance = run, every, keep, parent, provenance
        self.best_loss = float("inf")
        self.saved_step = 0
        self._stop = False
        self._handlers: dict[int, Any] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block signals ask the run to stop; behind it they do what they did before. It stands around all of
        the trainer's work, which would leave a SIGTERM without effect before the first step and after the last."""
        for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            hung_up = number == getattr(signal, "SIGHUP", None)
            if not (hung_up and signal.getsignal(number) == signal.SIG_IGN):  # as under nohup
                self._handlers[number] = signal.signal(number, self._ask_to_stop)
        before = dict(self._handlers)
        try:
            yield
        finally:
            self._handlers = before
            self._restore_handlers()

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_loss = state["best_loss"]

    def on_save_checkpoint(self, trainer: Trainer, module: TrainingModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = vars(Progress(trainer.global_step, trainer.max_steps, self.parent))

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        self.saved_step = trainer.global_step
        for number in self._handlers:  # again, as the trainer has put handlers of its own in their place
            signal.signal(number, self._ask_to_stop)

    def on_train_batch_start(self, trainer: Trainer, module: TrainingModule, batch: Any, idx: int) -> None:
        # by what the loggers count; the trainer restores it one too low or not, depending on when a state was saved
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, idx: int) -> None:
        if (idx + 1) % trainer.accumulate_grad_batches or validates_now(trainer):
            return
        self._after_step(trainer, module)

    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and float(loss) < self.best_loss:
            self.best_loss = float(loss)
            self._export(trainer, module, self.run.best_model)
            partial = self._write(trainer, "best.ckpt")
            if trainer.is_global_zero:
                os.replace(partial, self.run.checkpoints / "best.ckpt")
        self._after_step(trainer, module)

    def _after_step(self, trainer: Trainer, module: TrainingModule) -> None:
        step, last = trainer.global_step, trainer.max_steps
        stop = trainer.strategy.reduce_boolean_decision(self._stop, all=False)
        if step > self.saved_step and (stop or step % self.every == 0 or step == last):
            self.save(trainer, module)
        if stop and step < last:
            message = f"stopped after step {step} of {last}, everything is saved; to go on, give the same"
            raise Stopped(f"{message} command again, or: python -m train --resume {self.run.path}")

    def save(self, trainer: Trainer, module: TrainingModule) -> None:
        """Metrics and model folder, the state as `step_N` and `last`, then how far the run is; older states go."""
        step = self.saved_step = trainer.global_step
        if trainer.training:  # otherwise the step is logged already, then validated
            trainer._logger_connector.update_train_step_metrics()
        name = f"step_{step:08d}.ckpt" if self.keep else "last.ckpt"
        partial = self._write(trainer, name)
        self._export(trainer, module, self.run.model)
        if trainer.is_global_zero:
            os.replace(partial, self.run.checkpoints / name)
            if self.keep:
                self._link(name)
            self.run.record(Progress(step, trainer.max_steps, self.parent))
            self.run.tidy(self.keep, step)
        trainer.strategy.barrier()

    def _write(self, trainer: Trainer, name: str) -> Path:
        partial = self.run.checkpoints / f"{name}.partial"
        trainer.save_checkpoint(partial)
        return partial

    def _link(self, name: str) -> None:
        """`last.ckpt` becomes another name of `name`, or a copy where the file system has no links."""
        partial = self.run.last.with_name("last.ckpt.partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(self.run.checkpoints / name, partial)
        except OSError:
            shutil.copyfile(self.run.checkpoints / name, partial)
        os.replace(partial, self.run.last)

    def _export(self, trainer: Trainer, module: TrainingModule, folder: Path) -> None:
        with module.averaging():
            state = full_state(module.network)
            if trainer.is_global_zero:
                export(module, folder, self.provenance, trainer.global_step, self.best_loss, state)
            elif state is not None:
                for key in state:  # gathered for the first process, which writes file after file
                    state[key]

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        self._stop = True
        self._restore_handlers()
        tqdm.write("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}


def validates_now(trainer: Trainer) -> bool:
    """Whether the trainer goes on with a validation after this batch."""
    batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return trainer.enable_validation and batches % trainer.val_check_batch == 0


def export(
    module: TrainingModule,
    folder: Path,
    provenance: dict[str, Any],
    step: int,
    best: float,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the network, as it is, into a model folder that says of which step it is. state: its weights, gathered."""
    save_model(module.network, folder, {**provenance, "step": step, "best_validation_loss": best}, state=state)


def export_again(run: RunFolder, module: TrainingModule, provenance: dict[str, Any]) -> None:
    """The model folder of the last checkpoint, where it is missing or of another step."""
    checkpoint = joined(run.last_state(), run.last, (WEIGHTS, AVERAGES))
    module.restore(checkpoint)
    best = checkpoint["callbacks"][Checkpoints.__qualname__]["best_loss"]
    with module.averaging():
        export(module, run.model, provenance, checkpoint["global_step"], best)
