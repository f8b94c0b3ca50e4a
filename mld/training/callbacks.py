"""What happens around the steps of a run: seeds, checkpoints, a clean stop, the progress bar, samples to look at.

Every step starts from random numbers that follow from (seed, step) alone. So nothing that happens between steps (a
validation, a picture, an interruption) changes what is learnt, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tqdm import tqdm

from mld.checkpoint import save_model
from mld.errors import MldError
from mld.example import CaptionedClip
from mld.files import write_text
from mld.training.module import TrainingModule
from mld.training.run_folder import Progress, RunFolder


class Stopped(MldError):
    """The user stopped the run; its state is saved and the message says how to go on."""

    exit_code = 130


class StepSeeds(Callback):
    """Seeds Python, NumPy and torch: every training batch from (seed, batch number, rank), every validation alike."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: TrainingModule, batch: Any, batch_idx: int) -> None:
        self._seed(trainer.fit_loop.epoch_loop.total_batch_idx, trainer.global_rank)

    def on_validation_start(self, trainer: Trainer, module: TrainingModule) -> None:
        self._seed(trainer.global_rank)

    def _seed(self, *numbers: int) -> None:
        seed = int(np.random.SeedSequence([self.seed, *numbers]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


class Checkpoints(Callback):
    """Saves the full state and the model folder, every so many steps, at the end, and when SIGINT or SIGTERM comes.

    Files are written beside their place and renamed. `best` has the lowest validation loss so far."""

    def __init__(self, run: RunFolder, every: int, keep: int, parent: str, provenance: dict[str, Any]) -> None:
        self.run, self.every, self.keep, self.parent, self.provenance = run, every, keep, parent, provenance
        self.best_loss = float("inf")
        self.saved_step = 0
        self._stop = False
        self._handlers: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_loss = state["best_loss"]

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        self.saved_step = trainer.global_step
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._ask_to_stop)

    def teardown(self, trainer: Trainer, module: TrainingModule, stage: str) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, module: TrainingModule, exception: BaseException) -> None:
        self._restore_handlers()

    def on_train_batch_end(self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, idx: int) -> None:
        if (idx + 1) % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        stop = trainer.strategy.reduce_boolean_decision(self._stop, all=False)
        if step > self.saved_step and (stop or step % self.every == 0 or step == trainer.max_steps):
            self.save(trainer, module)
        if stop:
            message = f"stopped after step {step} of {trainer.max_steps}, everything is saved; to go on, give the same"
            raise Stopped(f"{message} command again, or: python -m train --resume {self.run.path}")

    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        if loss is None or float(loss) >= self.best_loss:
            return
        self.best_loss = float(loss)
        self._write(trainer, "best.ckpt")
        if trainer.is_global_zero:
            self._export(trainer, module, self.run.best_model)

    def save(self, trainer: Trainer, module: TrainingModule) -> None:
        """The state as `step_N` and `last`, the model folder, then how far the run is; older states are removed."""
        step = self.saved_step = trainer.global_step
        name = f"step_{step:08d}.ckpt" if self.keep else "last.ckpt"
        self._write(trainer, name)
        if not trainer.is_global_zero:
            return
        if self.keep:
            self._link(name)
        self._export(trainer, module, self.run.model)
        self.run.record(Progress(step, trainer.max_steps, self.parent))
        for old in sorted(self.run.checkpoints.glob("step_*.ckpt"))[: -self.keep or None]:
            old.unlink()

    def _write(self, trainer: Trainer, name: str) -> None:
        partial = self.run.checkpoints / f"{name}.partial"
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.run.checkpoints / name)

    def _link(self, name: str) -> None:
        """`last.ckpt` becomes another name of `name`, or a copy where the file system has no links."""
        partial = self.run.last.with_name("last.ckpt.partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(self.run.checkpoints / name, partial)
        except OSError:
            shutil.copyfile(self.run.checkpoints / name, partial)
        os.replace(partial, self.run.last)

    def _export(self, trainer: Trainer, module: TrainingModule, folder) -> None:
        step = {"step": trainer.global_step, "best_validation_loss": self.best_loss}
        save_model(module.evaluated, folder, {**self.provenance, **step})

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        self._stop = True
        self._restore_handlers()
        tqdm.write("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}


class StepBar(Callback):
    """One bar over all steps of the run with the loss, the last validation and the time left."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: tqdm | None = None
        self._shown: dict[str, str] = {}

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        if trainer.is_global_zero:
            interval = 0.2 if sys.stderr.isatty() else 15.0
            total, done = trainer.max_steps, trainer.global_step
            self._bar = tqdm(total=total, initial=done, desc=self.title, unit="step", mininterval=interval)

    def on_train_batch_end(self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, idx: int) -> None:
        if self._bar is None:
            return
        step = trainer.global_step
        if step % trainer.log_every_n_steps == 0:
            self._show(trainer, loss="train/loss")
        self._bar.update(step - self._bar.n)

    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        if self._bar is not None:
            self._show(trainer, val="val/loss", mpjpe_mm="val/mpjpe_mm", root_mm="val/root_mm", t2m_R03="val/t2m_R03")

    def _show(self, trainer: Trainer, **names: str) -> None:
        metrics = trainer.callback_metrics
        self._shown |= {label: f"{float(metrics[name]):.4g}" for label, name in names.items() if name in metrics}
        self._bar.set_postfix(self._shown, refresh=False)

    def teardown(self, trainer: Trainer, module: TrainingModule, stage: str) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, module: TrainingModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ShowSamples(Callback):
    """After each validation: a picture and lines of text from a few validation clips, in `samples/` and TensorBoard."""

    def __init__(self, run: RunFolder, clips: Callable[[], Sequence[CaptionedClip]]) -> None:
        self.run, self.clips = run, clips

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        if not trainer.is_global_zero:
            return
        from mld.view.figure import draw_contact_sheet

        samples = module.show(self.clips())
        self.run.samples.mkdir(exist_ok=True)
        stem = self.run.samples / f"step_{trainer.global_step:08d}"
        if samples.lines:
            write_text(stem.with_suffix(".txt"), "\n".join(samples.lines) + "\n")
        if samples.motions:
            sheet = draw_contact_sheet(samples.motions, samples.titles)
            sheet.save(stem.with_suffix(".png"))
        board = next(logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)).experiment
        if samples.motions:
            board.add_image("samples", np.asarray(sheet), trainer.global_step, dataformats="HWC")
        if samples.lines:
            board.add_text("samples", "  \n".join(samples.lines), trainer.global_step)
