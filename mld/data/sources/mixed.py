"""Several sources as one: their clips one source after the other, under names that tell where they come from.

Here is only which clips there are and how often each source is to be drawn; in which order they come is the affair of
the sampler (`mld/data/order.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from mld.data.clips import ClipSource, Problem, duration, fingerprint, histories, is_encoded
from mld.data.config import COMPOSED, DataConfig
from mld.data.sources.composing import ComposedSource
from mld.errors import ConfigError, DataError
from mld.example import Caption, CaptionedClip


@dataclass(frozen=True)
class Part:
    """One source of a mixture. share: how much of what is drawn comes from it, of 1. balance: the kinds of its clips
    that count by the square root of their number, "" for all clips alike."""

    name: str
    source: ClipSource
    share: float
    balance: str = ""


class MixedSource:
    """The clips of all `parts`, in order. All are of one representation and frame rate.

    part_of: (N,) the number of the part that each clip is from."""

    def __init__(self, parts: Sequence[Part], split: str) -> None:
        self.parts = tuple(parts)
        self.name = f"mixture {split}"
        self._drawn = split == "train"  # in other splits every clip comes once, whatever the shares
        self.representation, self.fps = parts[0].source.representation, parts[0].source.fps
        sizes = [len(part.source) for part in parts]
        self.lengths = np.concatenate([part.source.lengths for part in parts])
        self.part_of = np.repeat(np.arange(len(parts)), sizes)
        self._first = np.cumsum([0, *sizes])

    @property
    def problems(self) -> list[Problem]:
        """Those of all parts, the files under the part's name."""
        found = ((part.name, problem) for part in self.parts for problem in part.source.problems)
        return [replace(problem, file=f"{name}/{problem.file}") for name, problem in found]

    @property
    def encoded(self) -> bool:
        return any(is_encoded(part.source) for part in self.parts)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        part, number = self._find(index)
        clip = part.source[number]
        return replace(clip, name=f"{part.name}/{clip.name}")

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        part, number = self._find(index)
        return part.source.captions(number)

    @property
    def fingerprint(self) -> str | None:
        """Of the clips of all parts, where all know theirs."""
        known = [(part.name, fingerprint(part.source)) for part in self.parts]
        if not all(one for _, one in known):
            return None
        return blake2b(repr(known).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    @property
    def histories(self) -> np.ndarray:
        return np.concatenate([histories(part.source) for part in self.parts])

    def report(self) -> str:
        """What there is in all, and a line for each part, in training with its share."""
        names = ", ".join(part.name for part in self.parts)
        lines = [f"{self.name} of {names}: {len(self):,} clips, {duration(self.lengths, self.fps)}"]
        for part in self.parts:
            share = f"{part.share:4.0%}  " if self._drawn else ""
            lines.append(f"    {share}{_line(part)}")
        return "\n".join(lines)

    def _find(self, index: int) -> tuple[Part, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        index %= len(self)
        part = int(self.part_of[index])
        return self.parts[part], int(index - self._first[part])


def open_mixture(cfg: DataConfig, split: str, open_source: Callable[[DataConfig, str], ClipSource]) -> MixedSource:
    """The sources of `cfg` that have a weight, each opened by `open_source`.

    An error names the entry. `DataError` also where frame rates differ: feature files are not resampled."""
    total = sum(entry.weight for entry in cfg.sources)
    parts: list[Part] = []
    for key, entry, own in cfg.entries():
        try:
            source = open_source(own, split)
        except ConfigError as error:
            raise ConfigError(str(error).replace("data.", f"{key}.", 1)) from error
        except DataError as error:
            told = str(error).replace("data.", f"{key}.")
            raise DataError(f"{key} ({entry.title}): {told}") from error
        if parts and source.fps != parts[0].source.fps:
            raise DataError(
                f"{key} ({entry.title}) has {source.fps:g} frames per second, {parts[0].name} has"
                f" {parts[0].source.fps:g}; a mixture has one frame rate, give this source as 'joints' to resample it"
            )
        parts.append(Part(entry.title, source, entry.weight / total, own.balance))
    if cfg.compose and split == "train":
        parts = _with_composed(parts, cfg, split)
    return MixedSource(parts, split)


def _with_composed(parts: list[Part], cfg: DataConfig, split: str) -> list[Part]:
    """The parts, and one more of clips that are composed of clips of all of them."""
    composed = ComposedSource(MixedSource(parts, split), cfg, alone=True)
    if not len(composed):
        return parts
    known = [replace(part, share=part.share * (1 - cfg.compose)) for part in parts]
    return [*known, Part(COMPOSED, composed, cfg.compose)]


def _line(part: Part) -> str:
    report = part.source.report()
    return report if report.startswith(part.name) else f"{part.name}: {report}"
