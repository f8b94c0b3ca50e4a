"""What happens around the steps of a run: seeds, the progress bar, validation, samples to look at.

Every step starts from random numbers that follow from (seed, step) alone. So nothing that happens between steps (a
validation, a picture, an interruption) changes what is learnt, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from tqdm import tqdm

from mld.errors import MldError
from mld.example import CaptionedClip
from mld.files import atomically, write_text
from mld.training.module import TrainingModule
from mld.training.run_folder import RunFolder
from mld.training.throughput import SPEED, USED
from mld.training.trackers import show

SHOWN = {"samples/s": SPEED, "MFU": USED}  # in the bar


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


class Evaluating(Callback):
    """During a validation the network is as it is to be judged. Stands after callbacks that show it and before those
    that save it."""

    def __init__(self) -> None:
        self._state = contextlib.ExitStack()

    def on_validation_start(self, trainer: Trainer, module: TrainingModule) -> None:
        self._state.enter_context(module.evaluating())

    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        self._state.close()


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
            self._show(trainer, loss="train/loss", **SHOWN)
        self._bar.update(step - self._bar.n)

    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        if self._bar is not None:
            self._show(trainer, val="val/loss", mpjpe_mm="val/mpjpe_mm", root_mm="val/root_mm",
                       perplexity="val/code_perplexity", used="val/codebook_used", t2m_R03="val/t2m_R03")

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
    """After each validation: a picture and lines of text from a few validation clips, in `samples/` and the loggers."""

    def __init__(self, run: RunFolder, clips: Callable[[], Sequence[CaptionedClip]]) -> None:
        self.run, self.clips = run, clips

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, module: TrainingModule) -> None:
        if not trainer.is_global_zero:
            return
        from mld.view.figure import draw_contact_sheet

        parallel = module.settings.parallel
        half = parallel.precision == "bf16-true"  # otherwise pictures have full precision
        half |= parallel.precision == "bf16-mixed" and parallel.strategy == "fsdp2"  # which gathers in bfloat16
        with trainer.precision_plugin.forward_context() if half else contextlib.nullcontext():
            samples = module.show(self.clips())
        self.run.samples.mkdir(exist_ok=True)
        stem = self.run.samples / f"step_{trainer.global_step:08d}"
        if samples.lines:
            write_text(stem.with_suffix(".txt"), "\n".join(samples.lines) + "\n")
        if samples.motions:
            sheet = draw_contact_sheet(samples.motions, samples.titles)
            with atomically(stem.with_suffix(".png")) as file:
                sheet.save(file)
        show(trainer.loggers, sheet if samples.motions else None, samples.lines, trainer.global_step)
