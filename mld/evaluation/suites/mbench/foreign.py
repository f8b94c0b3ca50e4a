"""Folders of results of other systems: which file holds the motion of a prompt (spec mbench, 2; supplement 2.1).

As published, joint dimensions read `<id>.npy`, then `<id>.pt`; pose and judged dimensions `<Category>/<id>/motion.pt`
and `.npy`, then `<id>.pt`, then `<id>.npy`, so that an old cache may win over a newer motion. The strict column takes
one motion for all dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mld.evaluation.suites import results_folder
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, GROUPS, JOINT
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.results_folder import ARRAYS

GENERATED = ("motion_gen_condition_on_motion.pt", "motion_gen_condition_on_text.pt")


class ResultsFolder(results_folder.ResultsFolder):
    def check(self, prompts: Sequence[Prompt]) -> None:
        """`DataError` where no file is that of a prompt."""
        self.check_ids([prompt.id for prompt in prompts])

    def find(self, prompt: Prompt) -> Path | None:
        """The motion of a prompt, one for all dimensions."""
        return next(self.files(prompt.id), None)

    def files(self, name: str) -> Iterator[Path]:
        yield from super().files(name)
        for category in self._categories:
            yield from (path for path in self.within(category / name) if path.stem == "motion")

    def within(self, folder: Path) -> list[Path]:
        """What the published tools generate comes first."""
        generated = [folder / name for name in GENERATED if (folder / name).is_file()]
        return [*generated, *(path for path in super().within(folder) if path.name not in GENERATED)]

    def published(self, prompt: Prompt, dimension: str) -> Path | None:
        """The file that the published evaluator reads for a dimension, or what its other tools would make that file
        of."""
        plain = [self.folder / f"{prompt.id}{suffix}" for suffix in ARRAYS]
        if DIMENSIONS[dimension].needs == JOINT:
            places = plain
        else:
            inner = [c / prompt.id / f"motion{suffix}" for c in self._categories for suffix in reversed(ARRAYS)]
            places = [*inner, *reversed(plain)]
        return next((place for place in places if place.is_file()), None) or self.find(prompt)

    @cached_property
    def _categories(self) -> list[Path]:
        """Folders called as groups of prompts are."""
        known = [group.lower() for group in GROUPS]
        return [path for path in sorted(self.folder.iterdir()) if path.name.lower() in known and path.is_dir()]
