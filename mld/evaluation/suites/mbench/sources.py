"""Where the motions of a run come from: a model of this toolkit, or a folder of results of others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mld.engine.pipeline import Pipeline
from mld.evaluation.pace import Pace
from mld.evaluation.subject import about_model
from mld.evaluation.suites.mbench.foreign import ResultsFolder
from mld.evaluation.suites.mbench.making import Maker
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.files import file_hash
from mld.metrics.mode import Mode

MOTIONS = "motions"


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
    """pipeline: opens the model, which happens only where a motion is missing. opened_with: as of `Subject`."""

    own = True

    def __init__(
        self, source: str | Path, pipeline: Callable[[], Pipeline], settings: MBenchSettings, opened_with: str = ""
    ) -> None:
        self.source, self.open, self.settings, self.opened_with = source, pipeline, settings, opened_with
        self._problems: dict[str, str] = {}
        self._folder = Path()

    @cached_property
    def about(self) -> dict[str, Any]:
        return about_model(self.source, self.opened_with)

    @property
    def identity(self) -> dict[str, Any]:
        keys = ("weights_hash", "config_hash", "opened_with")
        return {"model": "/".join(self.about[key] for key in keys if key in self.about), "seed": self.settings.seed}

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        self._folder = folder / MOTIONS
        wanted = [prompt for prompt in prompts if not self._place(prompt).is_file()]
        if not wanted:
            return
        for prompt in wanted:
            prompt.text(self.settings.text)  # told before the model is opened
        maker = Maker(self.open(), self._folder, self.settings.text, self.settings.seed, self.settings.batch_size)
        pace = Pace("motions", len(prompts), "motion", self.settings.progress, self.settings.batch_size)
        pace.skip(len(prompts) - len(wanted))

        def told(prompt: Prompt, problem: str) -> None:
            if problem:
                self._problems[prompt.id] = problem
            pace.update(1)

        maker.make(wanted, told)
        pace.close()

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        place = self._place(prompt)
        return place if place.is_file() else None

    def name(self, file: Path) -> str:
        return file.name

    def reason(self, prompt: Prompt) -> str:
        return self._problems.get(prompt.id, "no motion was made")

    def _place(self, prompt: Prompt) -> Path:
        return self._folder / f"{prompt.id}.npy"


class FolderSource:
    """Results of another system; `DataError` where there is no such folder."""

    own = False

    def __init__(self, folder: Path, settings: MBenchSettings) -> None:
        self.folder, self.settings, self._results = folder, settings, ResultsFolder(folder)
        self._prompts: Sequence[Prompt] = ()

    @property
    def about(self) -> dict[str, Any]:
        """The hash is of all files that are of a prompt."""
        digest = hashlib.sha256()
        for prompt in self._prompts:
            found = self._results.find(prompt)
            digest.update(f"{prompt.id} {file_hash(found) if found else ''}\n".encode())
        return {"name": self.folder.resolve().name, "folder": str(self.folder), "weights_hash": digest.hexdigest()[:16]}

    @property
    def identity(self) -> dict[str, Any]:
        return {"results": str(self.folder.resolve()), "fps": self.settings.fps, "up": self.settings.up}

    def prepare(self, prompts: Sequence[Prompt], folder: Path) -> None:
        self._prompts = prompts
        self._results.check(prompts)

    def file(self, prompt: Prompt, column: Mode, dimension: str) -> Path | None:
        return self._results.published(prompt, dimension) if column == "upstream" else self._results.find(prompt)

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def reason(self, prompt: Prompt) -> str:
        return "no file of this prompt"
