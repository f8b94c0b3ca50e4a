"""Motions of probes: several of each prompt, of a model of this toolkit or in a folder of results of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mld.evaluation.suites import motions
from mld.evaluation.suites.making import Asked
from mld.evaluation.suites.motions import FromFolder, FromModel, ModelMotions
from mld.evaluation.suites.probes.predicates import Probe
from mld.evaluation.suites.probes.settings import ProbeSettings
from mld.evaluation.suites.results_folder import ResultsFolder

NOTHING = "no file of this prompt"


@dataclass(frozen=True)
class Sample:
    """A motion of a probe. number: from 0. name: of its file, within the folder of motions. file: None where there is
    none, and `reason` says why."""

    number: int
    name: str
    file: Path | None
    reason: str = ""


class Source(motions.Source, Protocol):
    def prepare(self, probes: Sequence[Probe], folder: Path) -> None:
        """Make what is missing, or see that there is something. folder: of the results."""
        ...

    def samples(self, probe: Probe) -> list[Sample]:
        """At least one, be it a missing one."""
        ...


class ModelSource(FromModel):
    """motions: of a model; made where they are missing: `motions/<id>/<number>.npy`."""

    def __init__(self, motions: ModelMotions, settings: ProbeSettings) -> None:
        super().__init__(motions)
        self.settings = settings

    def prepare(self, probes: Sequence[Probe], folder: Path) -> None:
        """The model decides how long a motion is where the words do not."""
        wanted = [Asked(name, probe.prompt, probe.seconds) for probe in probes for name in self._names(probe)]
        self.motions.make(wanted, folder)

    def samples(self, probe: Probe) -> list[Sample]:
        found = []
        for number, name in enumerate(self._names(probe)):
            place = self.motions.place(name)
            found.append(Sample(number, f"{name}.npy", place, "" if place else self.motions.reason(name)))
        return found

    def _names(self, probe: Probe) -> list[str]:
        return [f"{probe.id}/{number}" for number in range(self.settings.samples)]


class FolderSource(FromFolder):
    """Results of another system: `<id>.npy`, or a folder `<id>/` with a file for each sample. `DataError` where there
    is no such folder."""

    settings: ProbeSettings

    def __init__(self, folder: Path, settings: ProbeSettings) -> None:
        super().__init__(folder, settings)
        self._results, self._probes = ResultsFolder(folder), list[Probe]()

    def files(self) -> Iterator[tuple[str, Path | None]]:
        return ((sample.name, sample.file) for probe in self._probes for sample in self.samples(probe))

    def prepare(self, probes: Sequence[Probe], folder: Path) -> None:
        self._probes = list(probes)
        self._results.check_ids([probe.id for probe in probes])

    def samples(self, probe: Probe) -> list[Sample]:
        """The first so many files, in the order of their names; numbers by their value."""
        top = {path.stem: path for path in reversed(list(self._results.files(probe.id)))}
        files = sorted(top.values(), key=lambda path: _order(path.stem))[: self.settings.samples]
        found = [Sample(number, self.name(path), path) for number, path in enumerate(files)]
        return found or [Sample(0, "", None, NOTHING)]


def _order(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
