"""The models of a server: a list of names, opened when first used, few kept in memory."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mld.checkpoint import outline, read_config, resolve_folder
from mld.engine.options import has_setting
from mld.engine.pipeline import Pipeline
from mld.errors import CheckpointError, MldError, RequestError
from mld.models.contracts.generator import Shape
from mld.models.registry import find

AUTO = "auto"  # the model that is better at what is asked, whatever was asked before
STREAM, SPOKEN = "", Shape("motion")  # a stream is no task, but it is asked like motion for words
log = logging.getLogger(__name__)


class Models:
    """folders: model folders or hub ids, the first is the default. free: any other may be named as well.
    better: folders of the list that are better at a task than the default, by task. kept: models in memory at once.
    weights, sampling, text_encoder: as of `Pipeline.load`, for all of them; of several models, settings of sampling for
    those that have them."""

    def __init__(
        self, folders: Iterable[str], device: str = "cpu", free: bool = False,
        better: Mapping[str, str] | None = None, kept: int = 1, weights: str = "float32",
        sampling: Mapping[str, Any] | None = None, text_encoder: str = "keep",
    ) -> None:  # fmt: skip
        self.folders = _named(folders)
        names = {folder: name for name, folder in self.folders.items()}
        self.better = {task: names[folder] for task, folder in (better or {}).items() if folder in names}
        self.device, self.free, self._weights, self._sampling = device, free, weights, dict(sampling or {})
        self._text_encoder = text_encoder
        self._lock, self._kept = threading.Lock(), kept
        self._open: OrderedDict[str, Pipeline] = OrderedDict()
        self._limits: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        return list(self.folders)

    def able(self, shape: Shape, streams: bool = False) -> list[str]:
        """The models of the list that can be asked for a shape; for a stream those first that make one by themselves,
        token by token."""
        able = [name for name in self.names if shape in self.about(name)["answers"]]
        return sorted(able, key=lambda name: not self.about(name)["native"]) if streams else able

    def choices(self, task: str, shape: Shape) -> list[tuple[str, str]]:
        """What can be chosen for a task, as (label, name); the first is the default."""
        named = [(name, name) for name in self.able(shape, task == STREAM)]
        return [(f"{AUTO}: {self.named(AUTO, task, shape)}", AUTO), *named] if self.better else named

    def named(self, choice: str, task: str, shape: Shape) -> str:
        """The name of the model that was chosen. It is found when the task is asked, so that no model of another task
        can answer. `RequestError` where the choice is left open and no model can."""
        if choice and choice != AUTO:
            return choice
        if task in self.better:
            return self.better[task]
        able = self.able(shape, task == STREAM)
        if not able:
            raise RequestError("no model here can do that")
        return able[0]

    def limit(self, name: str) -> float:
        """Seconds of the longest motion that a model of the list makes at once, its weights unread; 0 where there is
        no limit, and for a model that is not listed."""
        if name not in self.folders:
            return 0.0
        with self._lock:
            if name not in self._limits:
                self._limits[name] = self.outline(name).most_seconds
            return self._limits[name]

    def outline(self, name: str) -> Pipeline:
        """A model of the list without its weights: what it can be asked, and how long its motions are."""
        return Pipeline(outline(resolve_folder(self._folder(name))))

    def check(self, name: str) -> None:
        """`CheckpointError` where a model cannot be opened, as far as that is seen without reading its weights."""
        folder = resolve_folder(self._folder(name))
        config = read_config(folder)
        if config["kind"] != "generator":
            raise CheckpointError(f"{folder.name} holds a {config.get('kind')}; a model with a language part is needed")

    def answers(self) -> frozenset[Shape]:
        """What the models of the list can be asked, all together."""
        families = {read_config(resolve_folder(folder))["family"] for folder in self.folders.values()}
        return frozenset().union(*(find("generator", family).answers for family in families))

    def pipeline(self, name: str) -> Pipeline:
        """The model, opened where it is not; then the one that was used longest ago is let go first."""
        with self._lock:
            if name not in self._open:
                try:
                    self.check(name)
                    while len(self._open) >= self._kept:
                        self._open.popitem(last=False)
                    self._open[name] = Pipeline.load(
                        self._folder(name), self.device, self._weights, self._settings(name), self._text_encoder
                    )  # fmt: skip
                except (MldError, OSError, ValueError) as error:
                    if name in self.folders or not self.free:
                        raise
                    # One sentence for all that is no model: the page tells nobody which files are there.
                    log.warning("the model '%s' cannot be opened: %s", name[:200], error)
                    raise CheckpointError(f"'{name[:60]}' is no model that can be opened; the log says why") from error
            self._open.move_to_end(name)
            return self._open[name]

    def about(self, name: str) -> dict[str, Any]:
        """What a model of the list is, without opening its weights."""
        config = read_config(resolve_folder(self._folder(name)))
        network = find("generator", config["family"])
        able = {"streams": Shape("motion") in network.answers, "native": network.streams()}
        return {"name": name, "family": config["family"], **able, "answers": network.answers}

    def _settings(self, name: str) -> dict[str, Any]:
        """The settings of sampling that a model has; those that no model has are told when it opens."""
        return {key: value for key, value in self._sampling.items() if self._has(name, key)
                or not any(self._has(other, key) for other in self.names)}  # fmt: skip

    def _has(self, name: str, key: str) -> bool:
        return has_setting(self.outline(name).model.config, key)

    def _folder(self, name: str) -> str:
        if name in self.folders:
            return self.folders[name]
        if not self.free:
            raise CheckpointError(f"'{name}' is not one of the models here: {', '.join(self.folders)}")
        return name


def _named(folders: Iterable[str]) -> dict[str, str]:
    """Folders by their last name, or by all of it where that is taken."""
    named: dict[str, str] = {}
    for folder in dict.fromkeys(folders):
        short = Path(folder).name
        named[folder if short in named else short] = folder
    return named
