"""Where the motions of a suite come from: a model of this toolkit, or a folder of results of others."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mld.engine.pipeline import Pipeline
from mld.evaluation.pace import Pace
from mld.evaluation.subject import about_model
from mld.evaluation.suites.making import Asked, Maker
from mld.evaluation.suites.settings import SuiteSettings
from mld.files import file_hash

MOTIONS = "motions"  # folder of what a model made, beside its results


class ModelMotions:
    """pipeline: opens the model, which happens only where a motion is missing. suite: its name, for messages.
    opened_with: as of `Subject`."""

    own = True

    def __init__(
        self, source: str | Path, pipeline: Callable[[], Pipeline], settings: SuiteSettings, suite: str,
        opened_with: str = "",
    ) -> None:  # fmt: skip
        self.source, self.open, self.settings = source, pipeline, settings
        self.suite, self.opened_with = suite, opened_with
        self.problems: dict[str, str] = {}
        self.folder = Path()

    @cached_property
    def about(self) -> dict[str, Any]:
        return about_model(self.source, self.opened_with)

    @property
    def identity(self) -> dict[str, Any]:
        keys = ("weights_hash", "config_hash", "opened_with")
        return {"model": "/".join(self.about[key] for key in keys if key in self.about), "seed": self.settings.seed}

    def make(self, wanted: Sequence[Asked], folder: Path) -> None:
        """Make what is missing. folder: of the results."""
        self.folder = folder / MOTIONS
        missing = [asked for asked in wanted if self.place(asked.id) is None]
        if not missing:
            return
        maker = Maker(self.open(), self.folder, self.suite, self.settings.seed, self.settings.batch_size)
        pace = Pace("motions", len(wanted), "motion", self.settings.progress, self.settings.batch_size)
        pace.skip(len(wanted) - len(missing))

        def told(asked: Asked, problem: str) -> None:
            if problem:
                self.problems[asked.id] = problem
            pace.update(1)

        maker.make(missing, told)
        pace.close()

    def place(self, name: str) -> Path | None:
        """The motion of an id, if there is one."""
        file = self.folder / f"{name}.npy"
        return file if file.is_file() else None

    def reason(self, name: str) -> str:
        """Why an id has no file."""
        return self.problems.get(name, "no motion was made")


class Source(Protocol):
    """about: for the results file. identity: what motions depend on. own: whether this toolkit writes them. makes:
    folders that it writes among the results."""

    own: bool
    makes: tuple[str, ...]

    @property
    def about(self) -> dict[str, Any]: ...

    @property
    def identity(self) -> dict[str, Any]: ...


class FromModel:
    """motions: of a model; made where they are missing."""

    own, makes = True, (MOTIONS,)

    def __init__(self, motions: ModelMotions) -> None:
        self.motions = motions

    @property
    def about(self) -> dict[str, Any]:
        return self.motions.about

    @property
    def identity(self) -> dict[str, Any]:
        return self.motions.identity


class FromFolder(ABC):
    """Results of another system."""

    own, makes = False, ()

    def __init__(self, folder: Path, settings: SuiteSettings) -> None:
        self.folder, self.settings = folder, settings

    @abstractmethod
    def files(self) -> Iterable[tuple[str, Path | None]]:
        """Of every prompt that is asked for; names as they are in the hash."""

    @property
    def about(self) -> dict[str, Any]:
        """For the results file; the hash is of all files."""
        digest = hashlib.sha256()
        for name, file in self.files():
            digest.update(f"{name} {file_hash(file) if file else ''}\n".encode())
        return {"name": self.folder.resolve().name, "folder": str(self.folder), "weights_hash": digest.hexdigest()[:16]}

    @property
    def identity(self) -> dict[str, Any]:
        return {"results": str(self.folder.resolve()), "fps": self.settings.fps, "up": self.settings.up}

    def name(self, file: Path) -> str:
        """A file within its folder."""
        return file.relative_to(self.folder).as_posix()
