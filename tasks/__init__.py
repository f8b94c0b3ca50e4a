"""The tasks, by name. A new task is one file here and one line in `NAMES`; importing this table is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mld.errors import RequestError, nearest

if TYPE_CHECKING:
    from mld.evaluation.task import Task

NAMES = {
    "recon": "reconstruction",
    "t2m": "t2m",
    "m2t": "m2t",
    "pred": "prediction",
    "inbetween": "inbetween",
    "t2t": "t2t",
}


def find(name: str) -> Task:
    """The task of that name; `RequestError` names the nearest."""
    if name not in NAMES:
        raise RequestError(f"no task '{name}'; {nearest(name, NAMES)}")
    return importlib.import_module(f"tasks.{NAMES[name]}").TASK


def able(engine) -> list[str]:
    """Names of the tasks that a pipeline or a motion tokenizer alone can do, in the order of the table."""
    from mld.models.contracts.tokenizer import MotionTokenizer

    done = {"recon"} if isinstance(engine, MotionTokenizer) else {"recon", *engine.model.tasks}
    return [name for name in NAMES if name in done]
