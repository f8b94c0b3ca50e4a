"""Where the motions of a run come from: a model of this toolkit, or a folder of results of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mld.evaluation.suites import motions
from mld.evaluation.suites.making import Asked
from mld.evaluation.suites.mbench.foreign import ResultsFolder
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.evaluation.suites.motions import FromFolder, FromModel, ModelMotions
from mld.metrics.mode import Mode


class Source(motions.Source, Protocol):
    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        """Make what is missing, or see that there is something. folder: of the results."""
        ...

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None: ...

    def name(self, file: Path) -> str:
        """A file within its folder."""
        ...

    def reason(self, prompt: Prompt) -> str:
        """Why a prompt has no file."""
        ...


class ModelSource(FromModel):
    def __init__(self, motions: ModelMotions, settings: MBenchSettings) -> None:
        super().__init__(motions)
        self.settings = settings

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        kind = self.settings.text
        self.motions.make([Asked(prompt.id, prompt.text(kind), prompt.seconds) for prompt in prompts], folder)

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        return self.motions.place(prompt.id)

    def name(self, file: Path) -> str:
        return file.name

    def reason(self, prompt: Prompt) -> str:
        return self.motions.reason(prompt.id)


class FolderSource(FromFolder):
    """Results of another system; `DataError` where there is no such folder."""

    def __init__(self, folder: Path, settings: MBenchSettings) -> None:
        super().__init__(folder, settings)
        self._results, self._prompts = ResultsFolder(folder), list[Prompt]()

    def files(self) -> Iterator[tuple[str, Path | None]]:
        return ((prompt.id, self._results.find(prompt)) for prompt in self._prompts)

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        self._prompts = list(prompts)
        self._results.check(prompts)

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        return self._results.published(prompt, dimension) if column == "upstream" else self._results.find(prompt)

    def reason(self, prompt: Prompt) -> str:
        return "no file of this prompt"
