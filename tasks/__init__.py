"""The tasks, by name. A new task is one file here and one line in `NAMES`; importing this table is cheap."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from mld.errors import RequestError

if TYPE_CHECKING:
    from tasks.base import Task

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
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(NAMES)}"
        raise RequestError(f"no task '{name}'; {hint}")
    return importlib.import_module(f"tasks.{NAMES[name]}").TASK
