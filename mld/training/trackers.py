"""Where numbers and samples of a run go: `metrics.csv`, TensorBoard, Weights & Biases. All go on when the run does."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mld.config import to_plain
from mld.errors import missing_extra
from mld.files import write_text
from mld.training.logs import MetricsFile
from mld.training.run_config import RunConfig
from mld.training.run_folder import RunFolder

if TYPE_CHECKING:
    from PIL.Image import Image


def check_loggers(config: RunConfig) -> None:
    """`MldError` where a package is missing that the loggers of a run need: before anything is made."""
    if "wandb" in config.training.loggers and find_spec("wandb") is None:
        raise missing_extra("wandb", "wandb")


def make_loggers(config: RunConfig, run: RunFolder) -> list[Logger]:
    """The loggers of a run; they go on behind its last saved step."""
    makers = {"csv": _metrics, "tensorboard": _board, "wandb": _wandb}
    return [makers[name](config, run) for name in dict.fromkeys(config.training.loggers)]


def _metrics(config: RunConfig, run: RunFolder) -> Logger:
    return MetricsFile(run.path / "metrics.csv", run.progress.step)


def _board(config: RunConfig, run: RunFolder) -> Logger:
    return TensorBoardLogger(run.path, name="", version="tensorboard", purge_step=run.progress.step or None)


def _wandb(config: RunConfig, run: RunFolder) -> Logger:
    """The same id whenever a run goes on, so that its numbers are one curve."""
    if not run.wandb_id.is_file() and rank_zero_only.rank == 0:
        write_text(run.wandb_id, secrets.token_hex(4) + "\n")
    known = run.wandb_id.read_text(encoding="utf-8").strip() if run.wandb_id.is_file() else None
    settings = config.training.wandb
    return WandbLogger(
        name=config.name, save_dir=run.path, id=known, project=settings.project, entity=settings.entity,
        offline=settings.offline, resume="allow", config=to_plain(config),
    )  # fmt: skip


@contextlib.contextmanager
def ended(loggers: Sequence[Logger]) -> Iterator[None]:
    """At the end of the block, however it ends, the next stage of the same process may begin a record of its own."""
    try:
        yield
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger) and rank_zero_only.rank == 0:
                logger.experiment.finish()


def show(loggers: Sequence[Logger], sheet: Image | None, lines: Sequence[str], step: int) -> None:
    """A picture and lines of text where a logger shows such."""
    import numpy as np

    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            if sheet is not None:
                logger.experiment.add_image("samples", np.asarray(sheet), step, dataformats="HWC")
            if lines:
                logger.experiment.add_text("samples", "  \n".join(lines), step)
        elif isinstance(logger, WandbLogger):
            if sheet is not None:
                logger.log_image("samples", [sheet])
            if lines:
                logger.log_text("sample texts", columns=["step", "text"], data=[[step, line] for line in lines])
