"""Where the motions of a run come from: a model of this toolkit, or a folder of results of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mld.evaluation.suites.making import Asked
from mld.evaluation.suites.mbench.foreign import ResultsFolder
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.evaluation.suites.motions import ModelMotions, about_folder, folder_identity
from mld.metrics.mode import Mode


class Source(Protocol):
    """about: for the results file. identity: what motions depend on. own: whether this toolkit writes them."""

    own: bool

    @property
    def about(self) -> dict[str, Any]: ...

    @property
    def identity(self) -> dict[str, Any]: ...

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


class ModelSource:
    """motions: of a model; made where they are missing."""

    own = True

    def __init__(self, motions: ModelMotions, settings: MBenchSettings) -> None:
        self.motions, self.settings = motions, settings

    @property
    def about(self) -> dict[str, Any]:
        return self.motions.about

    @property
    def identity(self) -> dict[str, Any]:
        return self.motions.identity

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        kind = self.settings.text
        self.motions.make([Asked(prompt.id, prompt.text(kind), prompt.seconds) for prompt in prompts], folder)

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        return self.motions.place(prompt.id)

    def name(self, file: Path) -> str:
        return file.name

    def reason(self, prompt: Prompt) -> str:
        return self.motions.reason(prompt.id)


class FolderSource:
    """Results of another system; `DataError` where there is no such folder."""

    own = False

    def __init__(self, folder: Path, settings: MBenchSettings) -> None:
        self.folder, self.settings, self._results = folder, settings, ResultsFolder(folder)
        self._prompts: Sequence[Prompt] = ()

    @property
    def about(self) -> dict[str, Any]:
        return about_folder(self.folder, ((prompt.id, self._results.find(prompt)) for prompt in self._prompts))

    @property
    def identity(self) -> dict[str, Any]:
        return folder_identity(self.folder, self.settings)

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        self._prompts = prompts
        self._results.check(prompts)

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        return self._results.published(prompt, dimension) if column == "upstream" else self._results.find(prompt)

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def reason(self, prompt: Prompt) -> str:
        return "no file of this prompt"
