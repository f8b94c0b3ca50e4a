"""The list of probes of a run: ours, or a user's; some of its groups."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mld.errors import DataError, RequestError, nearest, shown
from mld.evaluation.suites.probes.predicates import HERE, Probe, read_probes
from mld.evaluation.suites.probes.scoring import physical_units
from mld.files import file_hash

ALL = "all"  # row of all groups together
OWN = "probes"  # name of our list
_ID = re.compile(r"[\w-][\w .-]{0,99}")


@dataclass(frozen=True)
class Suite:
    """expected: hash of the files that say what must be seen."""

    name: str
    probes: tuple[Probe, ...]
    expected: str

    @property
    def hash(self) -> str:
        """Of everything that is told and expected."""
        told = [[probe.id, probe.prompt, probe.group, probe.seconds] for probe in self.probes]
        return hashlib.sha256(json.dumps([self.expected, *told]).encode()).hexdigest()[:16]

    @property
    def groups(self) -> list[str]:
        """In the order of the list."""
        return list(dict.fromkeys(probe.group for probe in self.probes))

    def of(self, group: str) -> list[Probe]:
        return [probe for probe in self.probes if group in (probe.group, ALL)]

    def part(self, groups: Sequence[str] = (), limit: int | None = None) -> Suite:
        """With these groups alone (none: all), and the first `limit` prompts of each. `RequestError` for a group that
        the list has not."""
        for group in groups:
            if group not in self.groups:
                raise RequestError(f"--group {group}: {self.name} has no such group; {nearest(group, self.groups)}")
        kept = [group for group in self.groups if not groups or group in groups]
        return replace(self, probes=tuple(probe for group in kept for probe in self.of(group)[:limit]))


def read_suite(files: Sequence[Path] = ()) -> Suite:
    """The probes of the files, together; without files ours. `DataError` says in one line what is no list of probes."""
    lists = [read_probes(path) for path in files] or [read_probes()]
    probes = tuple(probe for one in lists for probe in one)
    ids = [probe.id for probe in probes]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{', '.join(map(str, files))}: probe '{twice}' is there twice; ids are of one probe each")
    where, taken = ", ".join(map(str, files)), {ALL, *physical_units()}
    for probe in probes:
        if not _ID.fullmatch(probe.id):
            raise DataError(f"{where}: the id {shown(probe.id)} cannot be the name of a file; letters, digits, '-', "
                            "'_' and '.' can")  # fmt: skip
        if probe.group in taken:
            raise DataError(f"{where}: probe '{probe.id}' is in the group '{probe.group}'; that name is taken, by all "
                            "groups together or by a number of all motions")  # fmt: skip
    sources = [*(files or [HERE / "prompts.yaml"]), HERE / "facts.yaml"]
    return Suite(" + ".join(path.stem for path in files) or OWN, probes, "/".join(map(file_hash, sources)))
