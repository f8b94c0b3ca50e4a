"""The files of the gate: the meta file that gets its flags, and the report that a later run goes on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mld.errors import DataError, RequestError, shown
from mld.evaluation.judge.gate import Record
from mld.files import atomically, parse_json, place_for, write_json
from mld.reading import read_bytes

FLAG, FORMAT = "use_ref_motion", "mld-gate/1"


class Meta:
    """A JSON list of entries. `DataError` for anything else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _read(path)
        self.entries = _json(path, self._content)
        if not isinstance(self.entries, list) or not self.entries:
            kind = "an object" if isinstance(self.entries, dict) else shown(self.entries)
            kind = "an empty list" if self.entries == [] else kind
            raise DataError(f"{path}: {kind}, expected a JSON list of entries with 'motion_path'")
        if not any(isinstance(entry, dict) and "motion_path" in entry for entry in self.entries):
            raise DataError(f"{path}: none of its {len(self.entries)} entries has a 'motion_path'")

    def write(self, flags: Mapping[int, bool], out: Path | None) -> tuple[Path | None, Path | None]:
        """Put flags into the entries of these numbers and write all entries; the file that was written and, where that
        is the meta file, the copy of what was in it. Nothing is written in place where no flag changes.

        `DataError` where the meta file was changed meanwhile: what others wrote stays."""
        for number, flag in flags.items():
            self.entries[number][FLAG] = flag
        if out is not None and out.resolve() != self.path.resolve():
            return write_json(out, self.entries), None
        if _read(self.path) != self._content:
            raise DataError(f"{self.path}: changed while its references were read; nothing was written, run it again")
        if self.entries == _json(self.path, self._content):
            return None, None
        kept = place_for(self.path.with_name(self.path.name + ".bak"), self._content)
        if not kept.exists():
            with atomically(kept) as new:
                new.write_bytes(self._content)
        return write_json(self.path, self.entries), kept


def read_report(path: Path, settings: Mapping[str, Any]) -> dict[tuple[str, str, str], Record]:
    """The records of an earlier report with the same settings, by what they are about; none where there is no report
    yet. `RequestError` for a file that is something else, as it would be overwritten."""
    if not path.exists():
        return {}
    content = _json(path, _read(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RequestError(f"{path}: there, and no report of this command; name another file by --report")
    if content.get("settings") != dict(settings):
        return {}
    try:
        records = [_record(record) for record in content["records"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RequestError(f"{path}: a damaged report; remove it or name another file by --report") from error
    return {about(record): record for record in records}


def _record(content: dict[str, Any]) -> Record:
    known = {one.name for one in fields(Record)}
    record = Record(**{name: value for name, value in content.items() if name in known})
    return replace(record, motion_metrics=dict(record.motion_metrics), notes=tuple(record.notes))


def write_report(
    path: Path, meta: Path, rule: str, settings: Mapping[str, Any], records: Sequence[Record], entries: int
) -> Path:
    failed = sum(bool(record.error) for record in records)
    used = sum(record.final_quality is True for record in records)
    return write_json(path, {
        "format": FORMAT, "source_meta": str(meta), "rule": rule, "settings": dict(settings),
        "counts": {"entries": entries, "records": len(records), "use_ref_motion": used, "failed": failed},
        "records": [record.as_json() for record in records],
    })  # fmt: skip


def about(record: Record) -> tuple[str, str, str]:
    """Name, file and text of an entry; 7 and "7" are one name."""
    return str(record.global_id), record.motion_path, record.prompt


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'") from error


def _json(path: Path, content: bytes) -> Any:
    try:
        return parse_json(content.decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({shown(str(error), 100)[1:-1]})") from error
