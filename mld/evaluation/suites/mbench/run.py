"""MBench from top to bottom: motions, records, and the files that say what came out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mld.errors import DataError
from mld.evaluation.judge.threads import in_threads
from mld.evaluation.pace import Pace
from mld.evaluation.suites.mbench import published_files
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, JUDGED, POSE
from mld.evaluation.suites.mbench.page import write_page
from mld.evaluation.suites.mbench.prompts import Prompt, Suite
from mld.evaluation.suites.mbench.records import Record, Result
from mld.evaluation.suites.mbench.report import latex, markdown
from mld.evaluation.suites.mbench.scoring import Scorer, can_fit, find, fit_together
from mld.evaluation.suites.mbench.settings import COLUMNS, MBenchSettings
from mld.evaluation.suites.mbench.sources import Source
from mld.evaluation.suites.mbench.summary import DIFFERENCE, TASK, entries
from mld.evaluation.suites.reading import Clip, read_clip
from mld.evaluation.suites.running import SuiteRun, by_reason, mean
from mld.evaluation.suites.settings import FPS
from mld.files import file_hash
from mld.metrics.mode import Mode

JUDGES = 8  # questions to an endpoint at once
RECORDS, PUBLISHED = "records", "published"
Scorers = Mapping[Mode, Sequence[Scorer]]


class Run(SuiteRun):
    """One suite over one source. suite: the whole; what is measured of it is in the settings. `DataError` where the
    folder holds another run."""

    task, keeps = TASK, (RECORDS,)
    source: Source
    settings: MBenchSettings

    def __init__(self, suite: Suite, source: Source, settings: MBenchSettings, scorers: Scorers) -> None:
        self.whole, self.suite = suite, suite.part(settings.dimensions, settings.limit)
        self.source, self.settings, self.scorers = source, settings, scorers
        self.suite_hash = self.asked_hash = suite.hash
        self.records: dict[str, Record] = {}

    def asked(self) -> dict[str, Any]:
        return {"text": self.settings.text, **super().asked()}

    def run(self) -> dict[str, Any]:
        """The content of `results.json`, which is written with all that belongs to it. What an earlier run has found is
        not found again."""
        self.open()
        self.source.prepare(self.suite.prompts, self.folder)
        pace = Pace("prompts", len(self.suite.prompts), "prompt", self.settings.progress)
        judged, others = [], []
        for prompt in self.suite.prompts:
            is_judged = any(DIMENSIONS[name].needs == JUDGED for name in prompt.dimensions)
            (judged if is_judged else others).append(prompt)
        self._fit(self.suite.prompts)
        for prompt in others:
            self.records[prompt.id] = self._score(prompt)
            pace.update(1)
        at_once = JUDGES if self.settings.judge.startswith("http") else 1
        for number, record in in_threads(self._score, judged, at_once):
            self.records[judged[number].id] = record
            pace.update(1)
        pace.close()
        results = self._results()
        self._write(results)
        return results

    def clip(self, prompt: Prompt, dimension: str) -> Clip | None:
        """The motion of a prompt, as the column that ranks has it."""
        file = self.source.file(prompt, self.settings.mode, dimension)
        try:
            return None if file is None else read_clip(file, self.settings, self.source.own)
        except DataError:
            return None

    def _fit(self, prompts: Sequence[Prompt]) -> None:
        """Fit bodies to the motions that pose dimensions are scored of, several at once."""
        if not can_fit(self.scorers["strict"]):
            return
        clips = []
        for prompt in prompts:
            names = [name for name in prompt.dimensions if DIMENSIONS[name].needs == POSE]
            known = Record(self.folder / RECORDS, prompt.id)
            if names and not all((one := known.get("strict", name)) and one.value is not None for name in names):
                file = self.source.file(prompt, "strict", names[0])
                with contextlib.suppress(DataError):  # told when it is scored
                    clips += [read_clip(file, self.settings, self.source.own)] if file is not None else []
        size = self.settings.batch_size if self.settings.fit == "lowest" else 1
        pace = Pace("fits", len(clips), "motion", self.settings.progress, size)
        for start in range(0, len(clips), size):
            some = clips[start : start + size]
            fit_together(self.scorers["strict"], some)
            pace.update(len(some))
        pace.close()

    def _score(self, prompt: Prompt) -> Record:
        """The record of a prompt, with what is missing or has changed found anew."""
        record, before = Record(self.folder / RECORDS, prompt.id), {}
        opened: dict[Path, Clip] = {}
        for column in COLUMNS:
            before[column] = dict(record.results[column])
            files: dict[Path, list[str]] = {}
            for dimension in prompt.dimensions:
                file = self.source.file(prompt, column, dimension)
                if file is None:
                    reason = self.source.reason(prompt)
                    record.put(column, dimension, Result(None, reason, failed=not self.settings.partial))
                else:
                    files.setdefault(file, []).append(dimension)
            for file, dimensions in files.items():
                self._score_file(record, prompt, column, file, dimensions, opened)
        if before != record.results:
            record.save()
        return record

    def _score_file(
        self, record: Record, prompt: Prompt, column: Mode, file: Path, dimensions: list[str], opened: dict[Path, Clip]
    ) -> None:
        content = file_hash(file)

        def clip() -> Clip:
            if file not in opened:
                opened[file] = read_clip(file, self.settings, self.source.own)
                record.frames = opened[file].motion.num_frames
            if column == "strict" and opened[file].wrong:
                raise DataError(f"{file}: {opened[file].wrong}")
            return opened[file]

        def known(dimension: str, by: str | None) -> bool:
            there = record.get(column, dimension)
            return there is not None and there.holds(content, by)

        found = find(self.scorers[column], prompt, dimensions, clip, known)
        for dimension, result in found.items():
            record.put(column, dimension, replace(result, file=self.source.name(file), hash=content))

    def _results(self) -> dict[str, Any]:
        suite, settings = self.suite, self.settings
        asked = [prompt for prompt in suite.prompts if self.records[prompt.id].scored(prompt.dimensions)]
        return self.content(
            suite, len(suite.prompts), len(self.whole.prompts),
            protocol={"id": f"{TASK}/{settings.mode}", "mode": settings.mode, "text": settings.text,
                      "floor": settings.floor, "partial": settings.partial, "difference": DIFFERENCE},
            lengths={"motions": len(asked), "asked_seconds": mean([prompt.seconds for prompt in asked]),
                     "seconds": mean([(self.records[prompt.id].frames or 0) / FPS for prompt in asked])},
            problems=self.problems(), entries=entries(suite, self.records, settings),
        )  # fmt: skip

    def problems(self) -> list[str]:
        """Prompts without a value that should have one, a line for each reason."""
        found = []
        for prompt in self.suite.prompts:
            results = self.records[prompt.id].results
            failed = (results[c][d] for c in COLUMNS for d in prompt.dimensions if d in results[c])
            found += [(prompt.id, result.reason) for result in failed if result.failed]
        return by_reason(found)

    def _write(self, results: dict[str, Any]) -> None:
        self.write(results, markdown(results), latex(results))
        write_page(self.folder / "results.html", results, self)
        if self.settings.published:
            published_files.write(self.folder / PUBLISHED, "mbench_results", self.suite, self.records)
