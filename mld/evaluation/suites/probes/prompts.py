"""The list of probes of a run: ours, or a user's; some of its groups."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mld.errors import DataError, RequestError, nearest
from mld.evaluation.suites.probes.predicates import HERE, Probe, check_ids, read_probes
from mld.evaluation.suites.probes.scoring import physical_units
from mld.files import file_hash
from mld.motion import facts

ALL = "all"  # row of all groups together
OWN = "probes"  # name of our list
DECIDING = (  # files of code whose numbers decide whether a fact is seen: thresholds and detectors, expectations
    *sorted(Path(facts.__file__).parent.glob("*.py")),
    *(HERE / f"{name}.py" for name in ("expectations", "measures", "ordering", "predicates")),
)  # fmt: skip


@dataclass(frozen=True)
class Suite:
    """expected: hash of what decides whether it is seen: files of probes, names of facts, limits."""

    name: str
    probes: tuple[Probe, ...]
    expected: str

    @property
    def hash(self) -> str:
        """Of everything that is told and expected."""
        told = [[probe.id, probe.prompt, probe.group, probe.seconds] for probe in self.probes]
        return hashlib.sha256(json.dumps([self.expected, *told]).encode()).hexdigest()[:16]

    @property
    def asked(self) -> str:
        """Hash of what motions are made for; verdicts are found anew, so what is expected of them may change."""
        told = [[probe.id, probe.prompt, probe.seconds] for probe in self.probes]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

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
    where = ", ".join(map(str, files))
    check_ids(probes, where)
    taken = {ALL, *physical_units()}
    for probe in probes:
        if probe.group in taken:
            raise DataError(f"{where}: probe '{probe.id}' is in the group '{probe.group}'; that name is taken, by all "
                            "groups together or by a number of all motions")  # fmt: skip
    sources = [*(files or [HERE / "prompts.yaml"]), HERE / "facts.yaml"]
    expected = "/".join([*map(file_hash, sources), *map(numbers_hash, DECIDING)])
    return Suite(" + ".join(path.stem for path in files) or OWN, probes, expected)


def numbers_hash(path: Path) -> str:
    """Hash of the numbers in a file of code, in their order: of limits, whatever is said around them."""
    found = [node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Constant)]
    numbers = [repr(value) for value in found if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return hashlib.sha256(" ".join(numbers).encode()).hexdigest()
