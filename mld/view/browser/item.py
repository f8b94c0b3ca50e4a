"""`ViewItem`: a motion with what the viewer shows and offers next to it."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mld.motion.motion import Motion

DOWNLOADS = ("bvh", "glb")  # made by `with_downloads`; NPY needs no bytes of its own, the page makes it from the joints


@dataclass(frozen=True, eq=False)
class ViewItem:
    """One motion of a page.

    caption: shown above the figure. label: a short word for it, as "prompt" or "seed 3". tokens: (start frame, stop
    frame, label) of the codes or latents it was made of, None for no ruler. prompts: (start frame, stop frame, words)
    of what it was told, where words changed on the way. downloads: file name -> content; NPY is always offered and
    needs no entry.
    """

    motion: Motion
    caption: str = ""
    tokens: Sequence[tuple[int, int, str]] | None = None
    label: str = ""
    downloads: Mapping[str, bytes] = field(default_factory=dict)
    prompts: Sequence[tuple[int, int, str]] = ()

    @property
    def stem(self) -> str:
        """A name for files of this motion."""
        words = re.sub(r"[^a-z0-9]+", "-", (self.caption or self.label).lower()).strip("-")
        return words[:40].rstrip("-") or "motion"


def with_downloads(item: ViewItem, kinds: Sequence[str] = DOWNLOADS) -> ViewItem:
    """The item with its motion as files of these kinds; `MotionFormatError` for one that no motion is saved in."""
    files = dict(item.downloads)
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            path = item.motion.save(Path(folder) / f"{item.stem}.{kind}")
            files.setdefault(path.name, path.read_bytes())
    return dataclasses.replace(item, downloads=files)
