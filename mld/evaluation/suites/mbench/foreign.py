"""Folders of results of other systems: which file holds the motion of a prompt (spec mbench, 2; supplement 2.1).

As published, joint dimensions read `<id>.npy`, then `<id>.pt`; pose and judged dimensions `<Category>/<id>/motion.pt`
and `.npy`, then `<id>.pt`, then `<id>.npy`, so that an old cache may win over a newer motion. The strict column takes
one motion for all dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mld.errors import DataError
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, GROUPS, JOINT
from mld.evaluation.suites.mbench.prompts import Prompt, plain_id
from mld.motion.formats import readable_suffixes

GENERATED = ("motion_gen_condition_on_motion.pt", "motion_gen_condition_on_text.pt")
ARRAYS = (".npy", ".pt")
NAMED = 3


class ResultsFolder:
    """`DataError` where there is no such folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"--results {folder}: no such folder; it holds a file <id>.npy for each prompt")
        self.folder = folder

    def check(self, prompts: Sequence[Prompt]) -> None:
        """`DataError` where no file is that of a prompt."""
        if not any(self.find(prompt) for prompt in prompts):
            there = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
            listed = ", ".join(there[:NAMED]) + (", ..." if len(there) > NAMED else "") or "it is empty"
            wanted = ", ".join(prompt.id for prompt in prompts[:NAMED])
            raise DataError(f"--results {self.folder}: no file of any prompt ({wanted}, ...), there is {listed}; "
                            "files are called <id>.npy or lie in <id>/")  # fmt: skip

    def find(self, prompt: Prompt) -> Path | None:
        """The motion of a prompt, one for all dimensions."""
        return next(self.candidates(prompt), None)

    def candidates(self, prompt: Prompt) -> Iterator[Path]:
        """Files that may be the motion of a prompt, the one that is taken first."""
        inside = self._top.get(plain_id(prompt.id), [])
        order = {suffix: place for place, suffix in enumerate((*ARRAYS, *readable_suffixes()))}
        yield from sorted(inside, key=lambda path: (path.stem != prompt.id, order[path.suffix.lower()]))
        own = self.folder / prompt.id
        if own.is_dir():
            yield from (own / name for name in GENERATED if (own / name).is_file())
            rest = [path for path in sorted(own.iterdir()) if path.name not in GENERATED and _readable(path)]
            yield from sorted(rest, key=lambda path: order[path.suffix.lower()])
        for category in self._categories:
            place = category / prompt.id
            if place.is_dir():
                found = [path for path in sorted(place.iterdir()) if path.stem == "motion" and _readable(path)]
                yield from sorted(found, key=lambda path: order[path.suffix.lower()])

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
    def _top(self) -> dict[str, list[Path]]:
        """Motion files by their id."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            if _readable(path):
                found.setdefault(plain_id(path.stem), []).append(path)
        return found

    @cached_property
    def _categories(self) -> list[Path]:
        """Folders called as groups of prompts are."""
        known = [group.lower() for group in GROUPS]
        return [path for path in sorted(self.folder.iterdir()) if path.name.lower() in known and path.is_dir()]


def _readable(path: Path) -> bool:
    return path.suffix.lower() in readable_suffixes() and path.is_file() and not path.name.startswith(".")
