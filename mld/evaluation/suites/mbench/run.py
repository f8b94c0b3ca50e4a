"""MBench from top to bottom: motions, records, and the files that say what came out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mld.checkpoint import git_sha
from mld.errors import DataError
from mld.evaluation.judge.threads import in_threads
from mld.evaluation.pace import Pace
from mld.evaluation.results import FILE
from mld.evaluation.state import RunState
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
from mld.evaluation.suites.motions import MOTIONS
from mld.evaluation.suites.reading import Clip, read_clip
from mld.evaluation.suites.settings import FPS
from mld.files import file_hash, write_json, write_text
from mld.metrics.mode import Mode
from mld.version import __version__

JUDGES = 8  # questions to an endpoint at once
PLACE, RECORDS, PUBLISHED = Path("out/test"), "records", "published"
Scorers = Mapping[Mode, Sequence[Scorer]]


class Run:
    """One suite over one source. suite: the whole; what is measured of it is in the settings. `DataError` where the
    folder holds another run."""

    def __init__(self, suite: Suite, source: Source, settings: MBenchSettings, scorers: Scorers) -> None:
        self.whole, self.suite = suite, suite.part(settings.dimensions, settings.limit)
        self.source, self.settings, self.scorers = source, settings, scorers
        self.records: dict[str, Record] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """Values of equal identity may stand in one folder: of more prompts and dimensions."""
        return {"task": TASK, "suite": self.whole.hash, "text": self.settings.text, "floor": self.settings.floor,
                **self.source.identity, "version": __version__}  # fmt: skip

    @property
    def folder(self) -> Path:
        if self.settings.out is not None:
            return self.settings.out
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return PLACE / f"{self.source.about['name']}-{TASK}-{key}"

    def run(self) -> dict[str, Any]:
        """The content of `results.json`, which is written with all that belongs to it. What an earlier run has found is
        not found again."""
        RunState(self.folder, self.identity, self.settings.restart)
        if self.settings.restart:
            for name in (RECORDS, MOTIONS):
                shutil.rmtree(self.folder / name, ignore_errors=True)
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
        lengths = {"motions": len(asked), "asked_seconds": _mean([prompt.seconds for prompt in asked]),
                   "seconds": _mean([(self.records[prompt.id].frames or 0) / FPS for prompt in asked])}  # fmt: skip
        limited = len(suite.prompts) < len(self.whole.prompts)
        return {
            "identity": self.identity, "model": self.source.about,
            "protocol": {"id": f"{TASK}/{settings.mode}", "mode": settings.mode, "text": settings.text,
                         "floor": settings.floor, "partial": settings.partial, "difference": DIFFERENCE},
            "data": {"name": suite.name, "clips": len(suite.prompts), "hash": suite.hash,
                     "captions_hash": self.whole.hash, "limited": limited, "lengths": lengths,
                     "problems": self.problems()},
            "seeds": {"seed": settings.seed, "replications": 1}, "evaluators": {}, "rows": {}, "checks": {},
            "tasks": {TASK: entries(suite, self.records, settings)},
            "mld_version": __version__, "git_sha": git_sha(), "folder": str(self.folder),
        }  # fmt: skip

    def problems(self) -> list[str]:
        """Prompts without a value that should have one, a line for each reason."""
        reasons: dict[str, list[str]] = {}
        for prompt in self.suite.prompts:
            results = self.records[prompt.id].results
            failed = (results[c][d] for c in COLUMNS for d in prompt.dimensions if d in results[c])
            for reason in dict.fromkeys(result.reason for result in failed if result.failed):
                reasons.setdefault(reason, []).append(prompt.id)
        return [f"{_listed(ids)}: {reason}" for reason, ids in reasons.items()]

    def _write(self, results: dict[str, Any]) -> None:
        write_json(self.folder / FILE, results)
        write_text(self.folder / "results.md", markdown(results))
        write_text(self.folder / "results.tex", latex(results))
        write_page(self.folder / "results.html", results, self)
        if self.settings.published:
            published_files.write(self.folder / PUBLISHED, "mbench_results", self.suite, self.records)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def _listed(ids: Sequence[str], most: int = 5) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"prompt {ids[0]}" if len(ids) == 1 else f"prompts {', '.join(ids[:most])}{more}"
