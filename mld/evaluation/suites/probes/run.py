"""Probes from top to bottom: motions, verdicts, and the files that say what came out.

Motions are kept, so a run that was stopped goes on; looking at them takes no time and is always done anew.
"""

from __future__ import annotations

from typing import Any

from mld.evaluation.pace import Pace
from mld.evaluation.suites.probes.page import write_page
from mld.evaluation.suites.probes.prompts import Suite
from mld.evaluation.suites.probes.report import latex, markdown
from mld.evaluation.suites.probes.scoring import Row, score, unread
from mld.evaluation.suites.probes.settings import ProbeSettings
from mld.evaluation.suites.probes.sources import Source
from mld.evaluation.suites.probes.summary import TASK, entries, prompts, protocol
from mld.evaluation.suites.running import SuiteRun, mean


class Run(SuiteRun):
    """One list of probes over one source. suite: the whole; what is measured of it is in the settings. `DataError`
    where the folder holds another run."""

    task = TASK
    source: Source
    settings: ProbeSettings

    def __init__(self, suite: Suite, source: Source, settings: ProbeSettings) -> None:
        self.whole, self.suite = suite, suite.part(settings.groups, settings.limit)
        self.source, self.settings = source, settings
        self.suite_hash, self.asked_hash = suite.hash, suite.asked
        self.rows: dict[str, Row] = {}

    def run(self) -> dict[str, Any]:
        """The content of `results.json`, which is written with all that belongs to it."""
        self.open()
        self.source.prepare(self.suite.probes, self.folder)
        pace = Pace("prompts", len(self.suite.probes), "prompt", self.settings.progress)
        for probe in self.suite.probes:
            self.rows[probe.id] = score(probe, self.source, self.settings)
            pace.update(1)
        pace.close()
        results = self._results()
        self.write(results, markdown(results), latex(results))
        write_page(self.folder / "results.html", results, self.suite, self.rows)
        return results

    def _results(self) -> dict[str, Any]:
        suite, settings = self.suite, self.settings
        motions = [one.seconds for row in self.rows.values() for one in row.outcomes if one.seconds is not None]
        return self.content(
            suite, len(suite.probes), len(self.whole.probes),
            protocol={"id": protocol(TASK, settings), "floor": settings.floor, "partial": settings.partial},
            lengths={"motions": len(motions), "seconds": mean(motions)},
            problems=[] if settings.partial else unread(self.rows.values()),
            entries=entries(suite, self.rows, settings), seeds={"samples": settings.samples},
            prompts=prompts(suite, self.rows, settings),
        )  # fmt: skip
