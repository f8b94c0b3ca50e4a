"""Training batches without end, and validation on some clips.

Training is counted in steps, so the loader strings epochs together into one endless stream. Where an interrupted run
goes on follows from the number of batches used alone: batches fetched ahead by workers do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import count

import numpy as np
from torch.utils.data import DataLoader

from mld.data.clips import ClipSource, Problem
from mld.data.config import DataConfig
from mld.data.datamodule import MotionDataModule
from mld.data.sources.opening import build_source
from mld.example import CaptionedClip


class EndlessLoader:
    """The batches of `loader`, epoch after epoch, from the batch number `start` on. It has no length."""

    def __init__(self, loader: DataLoader, start: int = 0) -> None:
        self.loader, self.start = loader, start

    def __iter__(self) -> Iterator:
        sampler = self.loader.batch_sampler
        first_epoch, consumed = divmod(self.start, len(sampler))
        sampler.load_state_dict({"epoch": first_epoch, "consumed": consumed, "seed": sampler.seed})
        for epoch in count(first_epoch):
            sampler.set_epoch(epoch)
            yield from self.loader


class SomeClips:
    """At most `limit` clips of a source, evenly spread over it: a validation that takes the same time on any set."""

    def __init__(self, source: ClipSource, limit: int) -> None:
        self._source = source
        total = len(source)
        self._indices = np.unique(np.linspace(0, total - 1, min(limit, total)).round().astype(int)).tolist()
        self.name, self.representation, self.fps = source.name, source.representation, source.fps

    @property
    def problems(self) -> list[Problem]:
        return self._source.problems

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> CaptionedClip:
        return self._source[self._indices[index]]

    def num_frames(self, index: int) -> int:
        return self._source.num_frames(self._indices[index])

    def report(self) -> str:
        return f"{self._source.report()}; validating on {len(self):,}"


class Sources:
    """Opened clip sources, so that stages over the same clips read or make them once."""

    # settings of how clips are served, not of which clips there are
    SERVING = frozenset(
        ("window", "drop_short", "batch_size", "num_workers", "tasks", "instructions", "quote_probability")
        + ("token_drop_probability", "compat_seconds", "shorten_probability")
    )

    def __init__(self) -> None:
        self._opened: dict[str, ClipSource] = {}

    def open(self, cfg: DataConfig, split: str) -> ClipSource:
        """`build_source`, or what it gave before for the same clips."""
        clips = {name: value for name, value in sorted(vars(cfg).items()) if name not in self.SERVING}
        key = repr((split, clips))
        if key not in self._opened:
            self._opened[key] = build_source(cfg, split)
        return self._opened[key]


class TrainingData(MotionDataModule):
    """`MotionDataModule` for a run counted in steps: endless, resumable, validated on some clips."""

    def __init__(self, *args, max_validation_clips: int, sources: Sources, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.max_validation_clips = max_validation_clips
        self.sources = sources
        self.batches_used = 0

    @cached_property
    def train_source(self) -> ClipSource:
        return self.sources.open(self.cfg, "train")

    @cached_property
    def val_source(self) -> ClipSource:
        return SomeClips(self.sources.open(self.cfg, "val"), self.max_validation_clips)

    def train_dataloader(self) -> EndlessLoader:
        return EndlessLoader(super().train_dataloader(), self.batches_used)

    def state_dict(self) -> dict[str, int]:
        return {"batches_used": self.trainer.fit_loop.epoch_loop.total_batch_idx + 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batches_used = state["batches_used"]
