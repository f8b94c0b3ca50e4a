"""One run of the gate over a meta file: entries one by one or in threads, a report on the way, an earlier one gone on
with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mld.errors import MldError, RequestError
from mld.evaluation.judge.gate import Gate, Record
from mld.evaluation.judge.gate_files import Meta, about, read_report, write_report
from mld.evaluation.judge.references import file_hash_of, name_of, place_of, read_reference
from mld.evaluation.judge.threads import in_threads

SAVE_EVERY = 10.0  # seconds between reports


class GateRun:
    """root, fps: as in `place_of` and `read_reference`. limit: how many entries with a motion are looked at, None for
    all. reused: how many decisions come from an earlier report."""

    def __init__(
        self, meta: Meta, gate: Gate, report: Path, root: Path | None = None, fps: float | None = None,
        limit: int | None = None, threads: int = 1,
    ) -> None:  # fmt: skip
        self.meta, self.gate, self.report, self.root, self.fps, self.threads = meta, gate, report, root, fps, threads
        judge = gate.judge.identity if gate.judge else None
        self.settings = {"jitter_threshold": gate.threshold, "judge": judge, "fps": fps}
        self._known = read_report(report, self.settings)
        numbers = [number for number, entry in enumerate(meta.entries)
                   if not isinstance(entry, dict) or "motion_path" in entry]  # fmt: skip
        self.chosen = numbers[:limit]
        self.records: dict[int, Record] = {}
        self.reused = 0
        self._saved = time.monotonic()

    def run(self, on_record: Callable[[Record], None]) -> None:
        """Look at every entry; on_record is told of each. The report is whole whenever this ends."""
        self.save()  # a place that cannot be written is told before a judge is asked for hours
        try:
            for at, record in in_threads(self._one, self.chosen, self.threads):
                self.records[self.chosen[at]] = record
                on_record(record)
                if time.monotonic() - self._saved > SAVE_EVERY:
                    self.save()
        finally:
            self.save()

    def save(self) -> None:
        """Write the report; what an earlier one holds that this run has not come to stays in it."""
        records = [self.records[number] for number in sorted(self.records)]
        seen = {about(record) for record in records}
        rest = [record for key, record in self._known.items() if key not in seen]
        write_report(self.report, self.meta.path, self.gate.rule, self.settings, [*records, *rest],
                     len(self.meta.entries))  # fmt: skip
        self._saved = time.monotonic()

    @property
    def flags(self) -> dict[int, bool]:
        """By number of the entry; none for those in which a judge failed."""
        decided = {number: record.final_quality for number, record in self.records.items()}
        return {number: flag for number, flag in decided.items() if flag is not None}

    def place(self, record: Record) -> Path:
        return place_of(record.motion_path, self.meta.path, self.root)

    def _one(self, number: int) -> Record:
        entry = self.meta.entries[number]
        if not isinstance(entry, dict):
            return Record(f"entry {number}", error=f"entry {number} is no object with 'motion_path'; left as it is")
        prompt, written = entry.get("prompt"), entry["motion_path"]
        record = Record(name_of(entry, number), prompt=prompt if isinstance(prompt, str) else "",
                        motion_path=written if isinstance(written, str) else "")  # fmt: skip
        try:
            path = place_of(written, self.meta.path, self.root)
            known = self._known.get(about(record))
            if known is not None and not known.error and known.file_hash == file_hash_of(path):
                self.reused += 1
                return replace(known, global_id=record.global_id)
            reference = read_reference(path, self.fps)
        except MldError as error:  # what cannot be read cannot be used
            return replace(record, final_quality=False, by="unreadable", error=str(error))
        return self.gate.decide(record, reference)


def check_places(meta: Path, out: Path | None, **others: Path | None) -> None:
    """`RequestError` where two files of a run are one."""
    taken = {path.resolve(): "the meta file" for path in (meta, out) if path is not None}
    for option, path in others.items():
        if path is not None and path.resolve() in taken:
            raise RequestError(f"--{option} {path}: that is {taken[path.resolve()]}; name another file")
        if path is not None:
            taken[path.resolve()] = f"what --{option} writes"
