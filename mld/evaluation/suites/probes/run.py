"""Probes from top to bottom: motions, verdicts, and the files that say what came out.

Motions are kept, so a run that was stopped goes on; looking at them takes no time and is always done anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from mld.checkpoint import git_sha
from mld.evaluation.pace import Pace
from mld.evaluation.results import FILE
from mld.evaluation.state import RunState
from mld.evaluation.suites.motions import MOTIONS
from mld.evaluation.suites.probes.page import write_page
from mld.evaluation.suites.probes.prompts import Suite
from mld.evaluation.suites.probes.report import latex, markdown
from mld.evaluation.suites.probes.scoring import Row, score, unread
from mld.evaluation.suites.probes.settings import ProbeSettings
from mld.evaluation.suites.probes.sources import Source
from mld.evaluation.suites.probes.summary import TASK, entries, prompts, protocol
from mld.files import write_json, write_text
from mld.version import __version__

PLACE = Path("out/test")


class Run:
    """One list of probes over one source. suite: the whole; what is measured of it is in the settings. `DataError`
    where the folder holds another run."""

    def __init__(self, suite: Suite, source: Source, settings: ProbeSettings) -> None:
        self.whole, self.suite = suite, suite.part(settings.groups, settings.limit)
        self.source, self.settings = source, settings
        self.rows: dict[str, Row] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """Values of equal identity may stand in one folder: of more prompts and samples."""
        return {"task": TASK, "suite": self.whole.hash, "floor": self.settings.floor, **self.source.identity,
                "version": __version__}  # fmt: skip

    @property
    def folder(self) -> Path:
        if self.settings.out is not None:
            return self.settings.out
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return PLACE / f"{self.source.about['name']}-{TASK}-{key}"

    def run(self) -> dict[str, Any]:
        """The content of `results.json`, which is written with all that belongs to it."""
        RunState(self.folder, self.identity, self.settings.restart)
        if self.settings.restart:
            shutil.rmtree(self.folder / MOTIONS, ignore_errors=True)
        self.source.prepare(self.suite.probes, self.folder)
        pace = Pace("prompts", len(self.suite.probes), "prompt", self.settings.progress)
        for probe in self.suite.probes:
            self.rows[probe.id] = score(probe, self.source, self.settings)
            pace.update(1)
        pace.close()
        results = self._results()
        write_json(self.folder / FILE, results)
        write_text(self.folder / "results.md", markdown(results))
        write_text(self.folder / "results.tex", latex(results))
        write_page(self.folder / "results.html", results, self.suite, self.rows)
        return results

    def _results(self) -> dict[str, Any]:
        suite, settings = self.suite, self.settings
        limited = len(suite.probes) < len(self.whole.probes)
        motions = [one.seconds for row in self.rows.values() for one in row.outcomes if one.seconds is not None]
        mean = round(sum(motions) / len(motions), 3) if motions else None
        return {
            "identity": self.identity, "model": self.source.about,
            "protocol": {"id": protocol(TASK, settings), "floor": settings.floor, "partial": settings.partial},
            "data": {"name": suite.name, "clips": len(suite.probes), "hash": suite.hash,
                     "captions_hash": self.whole.hash, "limited": limited,
                     "lengths": {"motions": len(motions), "seconds": mean},
                     "problems": [] if settings.partial else unread(self.rows.values())},
            "seeds": {"seed": settings.seed, "samples": settings.samples, "replications": 1},
            "evaluators": {}, "rows": {}, "checks": {},
            "tasks": {TASK: entries(suite, self.rows, settings)}, "prompts": prompts(suite, self.rows, settings),
            "mld_version": __version__, "git_sha": git_sha(), "folder": str(self.folder),
        }  # fmt: skip
