"""Clips in shards as a source: `data.source=shards data.root=FOLDER`, as `python -m prepare.data shards` wrote it.

Opening maps the index of a split; no clip is read. Texts of clips are read from mapped files, one by one and in any
order. A map counts as resident memory as far as it was read, although the system takes it back when it needs it; so the
maps are forgotten whenever `MAPPED` clips were read, and the process stays small for whoever looks at it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.data.clips import Problem, dataset_root, refuse_empty, summary
from mld.data.config import DataConfig
from mld.data.shards.index import open_index
from mld.data.shards.layout import CURE
from mld.data.shards.reading import Shard
from mld.errors import DataError
from mld.example import Caption, CaptionedClip
from mld.motion.normalizer import Moments

MAPPED = 64  # clips that are read before the system has its memory back; it maps up to 2 MB around the text of each
FILES = 256  # shards that are open at once


class ShardsSource:
    """A split of a folder of shards; clips outside `min_frames` and `max_frames` are left out."""

    def __init__(self, cfg: DataConfig, split: str) -> None:
        root = dataset_root(cfg)
        self._arguments = (cfg, split)
        self._index = index = open_index(root / split)
        layout = index.layout
        self.name, self.representation, self.fps = f"{root.resolve().name} {split}", layout.representation, layout.fps
        if layout.representation != cfg.representation:
            told = f"holds '{layout.representation}', not '{cfg.representation}'"
            raise DataError(f"{index.path}: {told}; set data.representation={layout.representation} (--representation)")
        if cfg.fps is not None and cfg.fps != self.fps:
            raise DataError(f"{index.path}: {self.fps:g} frames per second, not {cfg.fps:g}; leave data.fps out")
        self.problems: list[Problem] = []
        lengths = index.frames.astype(np.int64)
        few, many = lengths < cfg.shortest(), lengths > cfg.max_frames
        self._chosen = np.flatnonzero(~(few | many)) if few.any() or many.any() else None
        self.lengths = lengths if self._chosen is None else lengths[self._chosen]
        reasons = {f"shorter than {cfg.shortest()} frames": few, f"longer than {cfg.max_frames} frames": many}
        self._skipped = Counter({reason: int(which.sum()) for reason, which in reasons.items() if which.any()})
        self._open: dict[int, Shard] = {}
        self._seen: set[int] = set()  # shards that were looked through
        self._mapped = 0
        refuse_empty(self, self.lengths, self._skipped, root, "Set data.min_frames and data.max_frames for these clips")

    @property
    def fingerprint(self) -> str:
        """A hash of all that is in the clips of this source, and of their order; no clip is read for it."""
        if self._chosen is None:
            return self._index.fingerprint
        return hashlib.sha256(self._index.fingerprint.encode() + self._chosen.tobytes()).hexdigest()

    @property
    def histories(self) -> np.ndarray:
        """Frames of each clip that are given, from the index."""
        return self._index.history if self._chosen is None else self._index.history[self._chosen]

    @property
    def moments(self) -> Moments | None:
        """Those of all frames, known without reading them; none where not all clips of the set are used."""
        return self._index.moments if self._chosen is None else None

    @property
    def encoded(self) -> bool:
        """Whether features were made from motion when the set was written; otherwise they are those of files."""
        return self._index.about.get("encoded", True)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        shard, row = self._find(index)
        return shard.clip(row)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        shard, row = self._find(index)
        return shard.captions(row)

    def clip_name(self, index: int) -> str:
        """The name of a clip, from the index alone."""
        return self._index.name(self._number(index))

    def features(self, indices: Sequence[int]) -> list[tuple[str, Tensor]]:
        """Names and features (T, D) of several clips. In one go, which takes a third of the time; no text is read."""
        numbers = [self._number(index) for index in indices]
        found = [self._at(number) for number in numbers]
        parts = [shard.numbers(row) for shard, row in found]
        frames = torch.from_numpy(self._index.frames[numbers].astype(np.int64))
        plain, exact = (np.concatenate(each) for each in zip(*parts))
        centre = torch.stack([shard.origin for shard, _ in found]).repeat_interleave(frames, dim=0)
        rows = self._index.layout.unpack(plain, exact, int(frames.sum()), centre)
        return list(zip(map(self._index.name, numbers), rows.split(frames.tolist())))

    def report(self) -> str:
        known = self._index.about
        text = summary(self, self.lengths, self._skipped)
        text += f"; {known['dtype']} in {(files := len(self._index.shards)):,} shard{'s' * (files != 1)}"
        if known["missing"]:
            lost = f"{known['missing']:,} problems when the set was written, what has them is not in it"
            text += f"; {lost}, the first: {known['left_out'][0]}"
        return text

    def damage(self) -> Iterator[Problem]:
        """Shards that are not what was written, for which all of them are read."""
        for number, known in enumerate(self._index.shards):
            path = self._index.path.parent / known["file"]
            try:
                shard = Shard(path, self._index.layout, known)
                if shard.content() != known["content"]:
                    yield Problem(str(path), 0, f"has changed since it was written; {CURE}")
            except DataError as error:
                yield Problem(str(path), 0, str(error).removeprefix(f"{path}: "))
            self._seen.add(number)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def _number(self, index: int) -> int:
        """The clip of the index file that is clip `index` here."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        return int(index % len(self) if self._chosen is None else self._chosen[index])

    def _find(self, index: int) -> tuple[Shard, int]:
        """The same of clip `index`, whose text is to be read from the map."""
        self._mapped += 1
        if self._mapped > MAPPED:
            for shard in self._open.values():
                shard.forget()
            self._mapped = 0
        return self._at(self._number(index))

    def _at(self, number: int) -> tuple[Shard, int]:
        """The open shard of a clip of the index file, and its row in it."""
        place, row = self._index.place(number)
        if place not in self._open:
            if len(self._open) >= FILES:
                del self._open[next(iter(self._open))]
            known = self._index.shards[place]
            path = self._index.path.parent / known["file"]
            self._open[place] = Shard(path, self._index.layout, known, check=place not in self._seen)
            self._seen.add(place)
        return self._open[place], row
