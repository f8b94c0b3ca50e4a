"""The list of probes of a run: ours, or a user's; some of its groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mld.errors import DataError, RequestError, nearest
from mld.evaluation.suites.probes.predicates import Probe, read_probes

ALL = "all"  # row of all groups together
OWN = "probes"  # name of our list


@dataclass(frozen=True)
class Suite:
    name: str
    probes: tuple[Probe, ...]

    @property
    def hash(self) -> str:
        """Of everything that is told and expected."""
        known = json.dumps([asdict(probe) for probe in self.probes], sort_keys=True, default=str)
        return hashlib.sha256(known.encode()).hexdigest()[:16]

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
        return Suite(self.name, tuple(probe for group in kept for probe in self.of(group)[:limit]))


def read_suite(files: Sequence[Path] = ()) -> Suite:
    """The probes of the files, together; without files ours. `DataError` says in one line what is no list of probes."""
    lists = [read_probes(path) for path in files] or [read_probes()]
    probes = tuple(probe for one in lists for probe in one)
    ids = [probe.id for probe in probes]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{', '.join(map(str, files))}: probe '{twice}' is there twice; ids are of one probe each")
    if any(probe.group == ALL for probe in probes):
        raise DataError(f"{', '.join(map(str, files))}: a group cannot be called '{ALL}'; it is that of all groups")
    return Suite(" + ".join(path.stem for path in files) or OWN, probes)
