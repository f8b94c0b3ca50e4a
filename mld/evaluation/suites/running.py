"""A run of any suite: its folder, whose motions may stand in it, and the files that say what came out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from mld.checkpoint import git_sha
from mld.errors import DataError
from mld.evaluation.results import FILE
from mld.evaluation.state import IDENTITY, STATE, RunState
from mld.evaluation.suites.motions import Source
from mld.evaluation.suites.settings import SuiteSettings
from mld.files import write_json, write_text
from mld.version import __version__

PLACE = Path("out/test")
NAMED = 5  # prompts in a line of problems


class SuiteRun:
    """task: name of the suite. keeps: folders of what a run has found. suite_hash: of the whole list, of which a run
    may take a part, as tables compare it. asked_hash: of what decides whether a folder may be gone on with."""

    task: ClassVar[str]
    keeps: ClassVar[tuple[str, ...]] = ()
    suite_hash: str
    asked_hash: str
    source: Source
    settings: SuiteSettings

    def asked(self) -> dict[str, Any]:
        """What values depend on beside the suite, the source and the version."""
        return {"floor": self.settings.floor}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Values of equal identity may stand in one folder: of more prompts, samples and dimensions."""
        return {"task": self.task, "suite": self.asked_hash, **self.asked(), **self.source.identity,
                "version": __version__}  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        if self.settings.out is not None:
            return self.settings.out
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return PLACE / f"{self.source.about['name']}-{self.task}-{key}"

    def open(self) -> None:
        """Take up the folder, emptied of what an earlier run made where that is told. `DataError` where it holds
        another run, or something that no run made. Motions of others (`--results`) stay, wherever they lie."""
        held = [name for name in (*self.keeps, *self.source.makes) if (self.folder / name).exists()]
        if held and not (self.folder / STATE / IDENTITY).is_file():
            raise DataError(f"{self.folder} holds {held[0]}/, which no run of {self.task} made; give another --out")
        RunState(self.folder, self.identity, self.settings.restart)
        if self.settings.restart:
            for name in held:
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def content(
        self, suite: Any, clips: int, whole: int, *, protocol: Mapping[str, Any], lengths: Mapping[str, Any],
        problems: list[str], entries: Mapping[str, Any], seeds: Mapping[str, Any] | None = None, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """The content of `results.json`. suite: name and hash of the part that was run, `clips` of `whole` prompts.
        more: what only this suite has."""
        return {
            "identity": self.identity, "model": self.source.about, "protocol": protocol,
            "data": {"name": suite.name, "clips": clips, "hash": suite.hash, "captions_hash": self.suite_hash,
                     "limited": clips < whole, "lengths": lengths, "problems": problems},
            "seeds": {"seed": self.settings.seed, **(seeds or {}), "replications": 1},
            "evaluators": {}, "rows": {}, "checks": {}, "tasks": {self.task: entries}, **more,
            "mld_version": __version__, "git_sha": git_sha(), "folder": str(self.folder),
        }  # fmt: skip

    def write(self, results: Mapping[str, Any], markdown: str, latex: str) -> None:
        write_json(self.folder / FILE, results)
        write_text(self.folder / "results.md", markdown)
        write_text(self.folder / "results.tex", latex)


def mean(values: list[float]) -> float | None:
    """To a thousandth."""
    return round(sum(values) / len(values), 3) if values else None


def by_reason(found: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each reason. found: id of a prompt and what is wrong with it."""
    reasons: dict[str, dict[str, None]] = {}
    for name, reason in found:
        reasons.setdefault(reason, {})[name] = None
    return [f"{_listed(list(ids))}: {reason}" for reason, ids in reasons.items()]


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"prompt {ids[0]}" if len(ids) == 1 else f"prompts {', '.join(ids[:NAMED])}{more}"
