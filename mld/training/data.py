"""Training batches without end, and validation on some clips.

Training is counted in steps, so the loader strings epochs together into one endless stream. Where an interrupted run
goes on follows from the number of items used alone: batches fetched ahead by workers do not count, and the batch size
or the number of devices may be another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import count

import numpy as np
from torch.utils.data import DataLoader

from mld.data.clips import ClipSource, Problem, noted
from mld.data.config import DataConfig
from mld.data.datamodule import MotionDataModule
from mld.data.sampler import BatchSampler
from mld.data.sources.composing import with_composed
from mld.data.sources.fact_captioned import with_facts
from mld.data.sources.mixed import open_mixture
from mld.data.sources.opening import build_source
from mld.data.sources.pairs import with_pairs
from mld.example import Caption, CaptionedClip


class EndlessLoader:
    """The batches of `loader`, epoch after epoch, from where its sampler stands. It has no length."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator:
        sampler = self.loader.batch_sampler
        for epoch in count(sampler.epoch):
            sampler.set_epoch(epoch)
            yield from self.loader


class SomeClips:
    """At most `limit` clips of a source, evenly spread over it: a validation that takes the same time on any set."""

    def __init__(self, source: ClipSource, limit: int) -> None:
        self._source = source
        total = len(source)
        self._indices = np.unique(np.linspace(0, total - 1, min(limit, total)).round().astype(int)).tolist()
        self.name, self.representation, self.fps = source.name, source.representation, source.fps
        self.lengths = source.lengths[self._indices]

    @property
    def problems(self) -> list[Problem]:
        return self._source.problems

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> CaptionedClip:
        return self._source[self._indices[index]]

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return self._source.captions(self._indices[index])

    def report(self) -> str:
        return noted(self._source.report(), f"validating on {len(self):,}")


class Sources:
    """Opened clip sources, so that stages over the same clips read or make them once."""

    # settings of how clips are served, not of which clips there are
    SERVING = frozenset(
        ("window", "drop_short", "batch_size", "num_workers", "tasks", "instructions", "quote_probability")
        + ("token_drop_probability", "compat_seconds", "shorten_probability", "legacy_token_lengths", "cut", "requote")
    )

    def __init__(self) -> None:
        self._opened: dict[str, ClipSource] = {}

    def open(self, cfg: DataConfig, split: str) -> ClipSource:
        """`build_source`, or what it gave before for the same clips."""
        clips = {name: value for name, value in sorted(vars(cfg).items()) if name not in self.SERVING}
        key = repr((split, clips))
        if key not in self._opened:
            # the sources of a mixture are kept one by one: another mixture may have some of them, or without what is
            # made of their clips
            if cfg.sources:
                self._opened[key] = open_mixture(cfg, split, self.open)
            elif cfg.pairs:
                self._opened[key] = with_pairs(self.open(replace(cfg, pairs=0.0), split), cfg, split)
            elif cfg.compose:
                self._opened[key] = with_composed(self.open(replace(cfg, compose=0.0), split), cfg, split)
            elif cfg.fact_captions:
                self._opened[key] = with_facts(self.open(replace(cfg, fact_captions=0.0), split), cfg, split)
            else:
                self._opened[key] = build_source(cfg, split)
        return self._opened[key]


class TrainingData(MotionDataModule):
    """`MotionDataModule` for a run counted in steps: endless, resumable, validated on some clips."""

    def __init__(self, *args, max_validation_clips: int, sources: Sources, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.max_validation_clips = max_validation_clips
        self.sources = sources
        self.batches_used = 0  # by the run before it was interrupted
        self._position: dict[str, int] = {}
        self._sampler: BatchSampler | None = None

    @cached_property
    def train_source(self) -> ClipSource:
        return self.sources.open(self.cfg, "train")

    @cached_property
    def val_source(self) -> ClipSource:
        return SomeClips(self.sources.open(self.cfg, "val"), self.max_validation_clips)

    def train_dataloader(self) -> EndlessLoader:
        loader = super().train_dataloader()
        sampler = loader.batch_sampler
        if self._position:
            sampler.load_state_dict(self._position)
        else:
            sampler.position = sampler.after(self.batches_used)
        self._sampler = copy(sampler)  # stays where this run begins, as the other one goes on
        return EndlessLoader(loader)

    def state_dict(self) -> dict[str, int]:
        """The position in items after the batches that were used (loaders fetch ahead), and how many batches."""
        used = self._batches()
        return {**self._sampler.state_dict(used - self.batches_used), "batches_used": used}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved state. One of batches alone, as runs used to have it, is of the same batch size and
        number of devices."""
        self.batches_used = state["batches_used"]
        self._position = state if "items" in state else {}

    def served(self) -> dict[str, int]:
        """How many items the run has used of each source of a mixture, interrupted or not; empty for one source."""
        return self._sampler.served(self._sampler.after(self._batches() - self.batches_used))

    def _batches(self) -> int:
        return self.trainer.fit_loop.epoch_loop.total_batch_idx + 1
