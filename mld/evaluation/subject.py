"""The model that an evaluation is about: a pipeline or a motion tokenizer alone, and what it can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mld.checkpoint import CONFIG, PROVENANCE, resolve_folder, weights_hash
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import RequestError
from mld.evaluation.task import Setting, Task
from mld.example import CaptionedClip, Text
from mld.files import file_hash
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.registry import get_representation


@dataclass(frozen=True)
class Subject:
    """source: folder or hub id of the model. tasks: all that it can do, asked for or not, so that the clips that count
    are the same ones whatever is asked for. published: it is asked as in the published tests. opened_with: settings of
    its weights and of sampling that are not the model's own."""

    engine: Pipeline | MotionTokenizer
    source: str | Path
    tasks: tuple[Task, ...]
    published: bool = False
    opened_with: str = ""

    @property
    def tokenizer(self) -> MotionTokenizer:
        return self.engine if isinstance(self.engine, MotionTokenizer) else self.engine.model.tokenizer

    @property
    def representation(self) -> str:
        return self.tokenizer.representation

    def as_published(self) -> Subject:
        """The same asked as in the published tests; a generator has their settings from now on, a tokenizer none."""
        if not isinstance(self.engine, MotionTokenizer):
            self.engine.model.answer_as_published()
        return replace(self, published=True)

    @property
    def published_templates(self) -> bool:
        """Whether repeats are asked in wordings of instruction templates: in published tests of families that have
        such."""
        return self.published and not isinstance(self.engine, MotionTokenizer) and bool(self.engine.model.published)

    def setting(self, seed: int = 0) -> Setting:
        """What its requests are made with. Published tests of models of whole clips cut them at any frame."""
        layout = self.tokenizer.layout
        unit = (layout.frames_per_token or 1) if self.published else layout.unit
        return Setting(get_representation(self.representation), unit, seed=seed, published=self.published)

    def refuses(self, clip: CaptionedClip) -> str:
        """Why one of the tasks cannot be asked about the clip with one of its captions; "" when all can."""
        try:
            for task, request in self._questions(clip):
                task.check(self.engine, request)
        except RequestError as error:
            return f"that the model cannot serve: {error}"
        return ""

    @cached_property
    def about(self) -> dict[str, Any]:
        """Name, folder and hashes, for the results file."""
        return about_model(self.source, self.opened_with)

    def _questions(self, clip: CaptionedClip) -> Iterator[tuple[Task, Request]]:
        setting = self.setting()
        for task in self.tasks:
            first = task.request(clip, setting)
            yield task, first
            if any(isinstance(part, Text) for part in first.prompt):
                others = (replace(setting, seed=i) for i in range(1, len(clip.captions)))
                yield from ((task, task.request(clip, other)) for other in others)


def about_model(source: str | Path, opened_with: str = "") -> dict[str, Any]:
    """Name, folder and hashes of a model folder or hub id. opened_with: as of `Subject`."""
    folder = resolve_folder(source)
    origin = folder / PROVENANCE
    name = folder.resolve().parent.name if folder.resolve().name == "model" else folder.resolve().name
    opened = {"opened_with": opened_with} if opened_with else {}
    return {"name": name, "folder": str(folder), **opened, "weights_hash": weights_hash(folder)[:16],
            "config_hash": file_hash(folder / CONFIG)[:16],
            "provenance_hash": file_hash(origin)[:16] if origin.is_file() else None}  # fmt: skip
