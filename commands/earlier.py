"""Results that lie in an output folder already: those of another run are put aside, so that a folder holds one run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX, OVERVIEWS = "index.json", ("overview.png", "overview.html")


def put_aside(folder: Path, settings: Mapping[str, Any]) -> str:
    """Move what `index.json` of an earlier run lists into a folder beside, unless it is of the same `run`; what was
    done or found, in a line, "" for nothing. Files that no index lists stay."""
    from mld.files import parse_json

    folder = folder.resolve()
    index = folder / INDEX
    if not index.is_file():
        others = [path for path in folder.iterdir() if not path.name.startswith(".")]
        names = f"{others[0].name}{', ...' if len(others) > 1 else ''}" if others else ""
        return f"{folder}: holds other files, which stay ({len(others):,}: {names})" if others else ""
    try:
        there = parse_json(index.read_bytes())
        listed = [name for entry in there["results"] for name in entry.get("files", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        there, listed = {}, []
    if there.get("run") == settings["run"]:
        return ""
    aside = _new_folder(folder)
    for name in (*listed, *OVERVIEWS, INDEX):  # the index at last: what a kill leaves is moved by the next run
        if isinstance(name, str) and Path(name).name == name and (folder / name).is_file():
            os.replace(folder / name, aside / name)
    changed = [key for key in ("task", "model", "model_hash", "seed", "source") if there.get(key) != settings.get(key)]
    why = f"another {changed[0].replace('model_hash', 'model')}" if there and changed else "other requests or options"
    return f"{folder}: results of an earlier run ({why}) are now in {aside.name}"


def _new_folder(folder: Path) -> Path:
    stem, number = f"{folder.name}.before-{time.strftime('%Y%m%d-%H%M%S')}", 1
    while True:
        made = folder.with_name(stem if number == 1 else f"{stem}-{number}")
        try:
            made.mkdir()
            return made
        except FileExistsError:
            number += 1
