"""The tasks of the page, read from `tasks.yaml`, and the limits of what may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

LONGEST_TEXT = 300  # characters
LONGEST_CLIP = 120.0  # seconds of an upload
LONGEST_WISH = 20.0  # seconds of an answer; a model may make less, and says so
MOST_SAMPLES = 6
LARGEST_UPLOAD = 20  # MB
HIGHEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Form:
    """What a task takes. words: "none", "optional" or "needed"; clips: how many motions; makes: "motion" or "text"."""

    name: str
    label: str
    hint: str
    words: str
    clips: int
    makes: str
    examples: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def forms() -> dict[str, Form]:
    """The forms by the name of their task, in the order of the page."""
    table = yaml.safe_load(Path(__file__).with_name("tasks.yaml").read_text(encoding="utf-8"))
    return {name: Form(name, **{**row, "examples": tuple(row.get("examples", ()))}) for name, row in table.items()}
