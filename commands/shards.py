"""The server of several processes as an application of Ray Serve, for whatever starts those by their name:

    serve run commands.shards:app shards=4 model=FOLDER

and `import_path: commands.shards:app` with `args` in config files, on Kubernetes as well. `mld serve --shards` is
for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import tasks
from mld.errors import RequestError, nearest
from mld.serve.api.settings import Settings
from mld.serve.ray_serve import Plan, application


def app(arguments: Mapping[str, str]) -> Any:
    """The application from `name=value` words, as `serve run` and config files have them: those of `Plan` and
    `Settings`, `model` (folders with spaces between them). `RequestError` for others."""
    given = dict(arguments)
    models = given.pop("model", "").split()
    if not models:
        raise RequestError("model=FOLDER is needed: the models to serve, with spaces between them")
    own, inner = ("shards", "device", "kept", "host", "allowed", "cpus", "gpus"), [one.name for one in fields(Settings)]
    kinds: dict[str, Callable[[str], Any]] = {"shards": int, "kept": int, "cpus": float, "gpus": float,
                                              "allowed": lambda names: tuple(names.split())}  # fmt: skip
    plan, settings = dict[str, Any](), dict[str, Any]()
    for name, value in given.items():
        if name not in (*own, *inner):
            raise RequestError(f"'{name}' is not known here; {nearest(name, ('model', *own, *inner))}")
        kind = kinds.get(name, str) if name in own else type(getattr(Settings(), name))
        try:
            (plan if name in own else settings)[name] = kind(value)
        except ValueError as error:
            raise RequestError(f"{name}={value}: a number is needed") from error
    return application(Plan(tuple(models), tasks.forms(), **plan, settings=Settings(**settings)))
