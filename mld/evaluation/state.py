"""What an evaluation has finished, kept on disk: a run that was stopped goes on where it was, with the same numbers.

`state/identity.json` says what is evaluated and how. A folder that holds another evaluation is refused, so numbers of
different protocols, models or data never meet. Each finished replication is a file that appears when it is complete.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mld.errors import DataError, shown
from mld.files import parse_json, write_json
from mld.metrics import ranks
from mld.metrics.results import Score
from mld.reading import read_text

STATE, IDENTITY, RESULTS = "state", "identity.json", "results.json"


class RunState:
    """folder: of the results. identity: JSON-ready, everything that numbers depend on. restart: throw away what is
    there. `DataError` when the folder holds another evaluation."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], restart: bool = False) -> None:
        self.folder = folder / STATE
        self._passes: dict[tuple[str, int], dict[str, Score]] = {}
        identity = json.loads(json.dumps(identity))
        if restart and ranks.is_first():
            shutil.rmtree(self.folder, ignore_errors=True)
        ranks.barrier()
        self._check(identity, restart)
        ranks.barrier()  # all have looked before the first one writes
        if ranks.is_first():
            write_json(self.folder / IDENTITY, identity)
        for file in sorted(self.folder.glob("*/*.json")):
            if file.stem.isdecimal():  # others are not ours
                self._passes[file.parent.name, int(file.stem)] = read_scores(file)
        ranks.barrier()  # all know the same passes

    def get(self, row: str, replication: int) -> dict[str, Score] | None:
        """The scores of a finished pass."""
        return self._passes.get((_slug(row), replication))

    def put(self, row: str, replication: int, scores: Mapping[str, Score], **about: Any) -> dict[str, Score]:
        """Keep the scores of a pass, and what else is to be recorded; gives them as they will be read again."""
        clean = {name: finite(score) for name, score in scores.items()}
        if ranks.is_first():
            content = {**about, "scores": {name: asdict(score) for name, score in clean.items()}}
            write_json(self.folder / _slug(row) / f"{replication:04d}.json", content)
        self._passes[_slug(row), replication] = clean
        return clean

    def finished(
        self, row: str, replication: int, seed: int, make: Callable[[], Mapping[str, Score]]
    ) -> dict[str, Score]:
        """The scores of a pass from an earlier run, or those that `make` gives. seed: what the pass is drawn with."""
        known = self.get(row, replication)
        if known is not None:
            return known
        start = time.monotonic()
        scores = make()
        return self.put(row, replication, scores, seed=seed, seconds=round(time.monotonic() - start, 3))

    def _check(self, identity: Mapping[str, Any], restart: bool) -> None:
        file = self.folder / IDENTITY
        if not file.is_file():
            if (self.folder.parent / RESULTS).exists() and not restart:
                raise DataError(
                    f"{self.folder.parent} holds {RESULTS} without the state that it is of; "
                    "give another --out, or --restart to throw the old one away"
                )
            return
        there = _read(file)
        other = [key for key in {**there, **identity} if there.get(key) != identity.get(key)]
        if other:
            changes = "; ".join(f"{k}: {_short(there.get(k))} there, {_short(identity.get(k))} now" for k in other)
            raise DataError(
                f"{self.folder.parent} holds another evaluation and numbers must not mix ({changes}); "
                "give another --out, or --restart to throw the old one away"
            )


def read_scores(file: Path) -> dict[str, Score]:
    """The scores of a pass file; `DataError` for what is not as `put` writes it."""
    found = {}
    try:
        for name, fields in _read(file)["scores"].items():
            interval = fields.pop("interval")
            found[name] = Score(**fields, interval=None if interval is None else tuple(interval))
            for number in (found[name].value, *(interval or ())):
                if number is not None and type(number) not in (int, float):
                    raise TypeError(f"{name} is {shown(number)}")
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from error
    return found


def finite(score: Score) -> Score:
    """The score, or one without a value and a reason where it is not a finite number."""
    if score.value is not None and not math.isfinite(score.value):
        return Score(None, score.unit, score.n, score.reason or "not a finite number")
    if score.interval is not None and not all(map(math.isfinite, score.interval)):
        return replace(score, interval=None)
    return score


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_text(file))
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error
    if not isinstance(content, dict):
        raise _damaged(file, shown(content))
    return content


def _damaged(file: Path, reason: object) -> DataError:
    return DataError(f"{file} cannot be read ({reason}); start again with --restart")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _slug(row: str) -> str:
    return row.replace(" ", "-").replace("/", "-")
