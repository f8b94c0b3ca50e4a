"""The tasks, by name. A new task is one file here and one line in `NAMES`; importing this table is cheap."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from mld.errors import RequestError, nearest

if TYPE_CHECKING:
    from mld.evaluation.task import Task
    from mld.serve.page.forms import Form

DEFAULT = "t2m"
NAMES = {
    "recon": "reconstruction",
    "t2m": "t2m",
    "m2t": "m2t",
    "pred": "prediction",
    "inbetween": "inbetween",
    "t2t": "t2t",
    "stream": "streaming",
}


def find(name: str) -> Task:
    """The task of that name; `RequestError` names the nearest."""
    if name not in NAMES:
        raise RequestError(f"no task '{name}'; {nearest(name, NAMES)}")
    return importlib.import_module(f"tasks.{NAMES[name]}").TASK


def able(engine) -> list[str]:
    """Names of the tasks that a pipeline, or a motion tokenizer alone, can do."""
    return [name for name in NAMES if find(name).serves(engine)]


def forms() -> dict[str, Form]:
    """What a person fills in for each task on a page, by name and in order; tasks without a form are left out."""
    import yaml

    from mld.serve.page.forms import Form

    table = yaml.safe_load(Path(__file__).with_name("forms.yaml").read_text(encoding="utf-8"))
    return {
        name: Form(name, shape=find(name).shape, **{**table[name], "examples": tuple(table[name].get("examples", ()))})
        for name in NAMES if name in table
    }  # fmt: skip
