"""Clips whose mirrored twins are in another split: whoever trains on the one has seen the other.

Names alone say it, so a million clips take seconds. Without leaks every clip stays in its split, and a twin is dropped
where its clip is in another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mld.data.clips import SPLITS, read_split
from mld.data.mirroring import original_of
from mld.errors import DataError
from mld.files import replacing

ALL = "all"
EVALUATED_FIRST = ("test", "val", "train")  # a name in several splits stays where it is measured


@dataclass(frozen=True)
class Leaks:
    """kept: names by split without leaks. apart: recordings that are in two splits, by these. dropped: names that were
    left out, by split. case_twins: pairs of names that differ in the case of letters only."""

    kept: dict[str, list[str]]
    apart: Counter[tuple[str, str]]
    dropped: Counter[str]
    case_twins: list[tuple[str, str]]

    @property
    def remaining(self) -> str:
        """`train 624,554, val 21,211, test 70,824`."""
        return ", ".join(f"{split} {len(names):,}" for split, names in self.kept.items())


def find_leaks(splits: Mapping[str, Sequence[str]]) -> Leaks:
    """Leaks among names by split."""
    order = [split for split in EVALUATED_FIRST if split in splits] + [s for s in splits if s not in EVALUATED_FIRST]
    home: dict[str, str] = {}
    for split in order:
        for name in splits[split]:
            home.setdefault(name, split)
    originals = {name: original_of(name, home) for name in home}
    places: dict[str, str] = {}  # the split of a recording: that of its clip, else of its first twin
    for name, split in home.items():
        if originals[name] == name:
            places[name] = split
    for name, split in home.items():
        places.setdefault(originals[name], split)
    kept: dict[str, list[str]] = {split: [] for split in splits}
    dropped: Counter[str] = Counter()
    apart: Counter[tuple[str, str]] = Counter()
    for split, names in splits.items():
        for name in dict.fromkeys(names):
            place = places[originals[name]]
            if place == split and home[name] == split:
                kept[split].append(name)
            else:
                dropped[split] += 1
                other = place if place != split else home[name]
                apart[tuple(sorted((split, other), key=list(splits).index))] += 1
    return Leaks(kept, apart, dropped, list(_case_twins(home)))


def _case_twins(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield first, name


def read_names(folder: Path) -> dict[str, list[str]]:
    """Names by split of the split files of a folder; `DataError` where it has none."""
    present = [split for split in SPLITS if (folder / f"{split}.txt").is_file()]
    return {split: read_split(folder, split) for split in present or SPLITS[:1]}


def write_splits(leaks: Leaks, folder: Path) -> None:
    """Split files without leaks into a new folder, with `all.txt`; `DataError` where something is there already."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise DataError(f"{folder} is already there and not empty; name a new folder")
    together = [name for names in leaks.kept.values() for name in names]
    with replacing(folder) as new:
        for split, names in {**leaks.kept, ALL: together}.items():
            (new / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
