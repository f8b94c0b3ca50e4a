"""The table of what is damaged, by kind, and what its makers share."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.wild.fuzz.damage import damage, linked
from tests.wild.fuzz.harness import Case

ROOT = Path(__file__).parents[3]
KINDS: dict[str, Callable[[Path], Case]] = {}


def kind(make: Callable[[Path], Case]) -> Callable[[Path], Case]:
    KINDS[make.__name__] = make
    return make


def with_good(good: Path, use: Callable[[Path], object]) -> Case:
    """A case damages a copy of the good folder and uses it."""

    def case(chance: random.Random, folder: Path) -> None:
        damage(linked(good, folder / "it"), chance)
        use(folder / "it")

    return case
