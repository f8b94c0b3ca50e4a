"""The latents of a continuous tokenizer, made once before a generator is trained instead of anew in every step.

Of every stretch that an example of a clip can be made of, the posterior is kept, not a sample: training still draws
fresh noise. All lie in one file, float32 (what encoding gives, to the bit), mapped into memory and read row by row. One
latent of 256 numbers takes 2 KB, so all tasks of 25,000 clips (15 stretches each) 0.8 GB of disk and text-to-motion
alone 0.15 GB. The name of the file follows from all it depends on; it may be deleted at any time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.instructions import InstructionSet, stretches
from mld.data.mixture import Mixture
from mld.errors import CheckpointError, DataError
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.padding import padded

FORMAT = 1  # of the file, and of the way to the numbers in it
BATCH, GROUP = 64, 256  # stretches encoded at once; clips held in memory at once
Stretch = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where the posteriors of a clip are: consecutive rows from `first` on, one for each of `stretches`."""

    index: int
    first: int
    stretches: tuple[Stretch, ...]


class LatentCache(Mapping[str, dict[Stretch, Tensor]]):
    """Posteriors (2, S, C) float32, means and log variances, by clip name and then stretch. `file` is a .npy file
    (N, 2, S, C), mapped when it is first read, in each process for itself."""

    def __init__(self, file: Path, places: Mapping[str, Place]) -> None:
        self.file, self.places = file, dict(places)
        self._rows: np.ndarray | None = None

    def __getitem__(self, name: str) -> dict[Stretch, Tensor]:
        if self._rows is None:
            self._rows = np.load(self.file, mmap_mode="r")
        place = self.places[name]
        rows = np.array(self._rows[place.first : place.first + len(place.stretches)])
        return dict(zip(place.stretches, torch.from_numpy(rows)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_rows": None}

    def report(self) -> str:
        """`1,200 stretches of 400 clips, 2.5 MB, in FILE`."""
        total = sum(len(place.stretches) for place in self.places.values())
        return f"{total:,} stretches of {len(self):,} clips, {self.file.stat().st_size / 1e6:,.1f} MB, in {self.file}"


def latent_cache(
    tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig, folder: str | Path
) -> LatentCache | None:
    """The posteriors of all stretches that examples of `source` can be made of; none if no task has motion in it.

    Found in `folder`, or encoded (under a progress bar) and written there at once or not at all. `DataError` when the
    disk is too small, `CheckpointError` for a tokenizer that was never trained."""
    places, key = _survey(tokenizer, source, cfg)
    total = sum(len(place.stretches) for place in places.values())
    if not total:
        return None
    file = Path(folder) / f"latents-{key}.npy"
    if not file.is_file():
        _write(tokenizer, source, places, file, total)
    return LatentCache(file, places)


@torch.no_grad()
def posteriors(tokenizer: MotionTokenizer, features: Sequence[Tensor]) -> Tensor:
    """(B, 2, S, C) on the CPU of stretches (T, D) of raw features, encoded as one batch."""
    return tokenizer.stored(*padded(features, tokenizer.device))[0].cpu()


def _survey(tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig) -> tuple[dict[str, Place], str]:
    """Where each clip's rows are to be, and a hash of everything that the numbers follow from."""
    instructions = InstructionSet.load(cfg.instructions)
    motions = instructions.motions(Mixture(instructions.subtasks, cfg.tasks).drawn)
    known: dict[int, tuple[Stretch, ...]] = {}  # by length, so that clips share them
    places: dict[str, Place] = {}
    total = blake2b(repr((FORMAT, tokenizer.describe())).encode(), digest_size=8)
    for name, value in tokenizer.state_dict().items():
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    first = 0
    for index in tqdm(range(len(source)), desc="looking through clips", unit="clip", leave=False):
        clip = source[index]
        length = clip.num_frames
        if length not in known:
            known[length] = stretches(length, motions, cfg)
        places[clip.name] = Place(index, first, known[length])
        first += len(known[length])
        total.update(repr((clip.name, known[length])).encode())
        total.update(np.ascontiguousarray(clip.features.numpy()))
    return places, total.hexdigest()


def _write(tokenizer: MotionTokenizer, source: ClipSource, places: dict[str, Place], file: Path, total: int) -> None:
    """Encode all stretches. Clips of similar length are read together, each once; their stretches too are sorted."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (total, 2, tokenizer.layout.tokens_per_clip, tokenizer.layout.channels)
    size, free = 4 * int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if size > 0.95 * free:
        raise DataError(
            f"the latents of {len(places):,} clips take {size / 1e9:.1f} GB, {file.parent} has {free / 1e9:.1f} GB;"
            " make room, or set training.cache_latents=false (slower)"
        )
    tokenizer.eval()
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        rows = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
        with tqdm(total=total, desc="motion to latents", unit="stretch", leave=False) as bar:
            for group in _groups(source, places):
                for numbers, features in group:
                    rows[numbers] = posteriors(tokenizer, features).numpy()
                    bar.update(len(numbers))
        _check(rows)
        rows.flush()
        del rows
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _groups(source: ClipSource, places: dict[str, Place]) -> Iterator[list[tuple[list[int], list[Tensor]]]]:
    """Batches (row numbers, features of their stretches), for one group of clips after the other."""
    order = sorted(places.values(), key=lambda place: source.num_frames(place.index))
    for start in range(0, len(order), GROUP):
        jobs: list[tuple[int, Tensor]] = []
        for place in order[start : start + GROUP]:
            features = source[place.index].features
            jobs += [(place.first + i, features[a:b]) for i, (a, b) in enumerate(place.stretches)]
        jobs.sort(key=lambda job: len(job[1]))
        batches = (jobs[i : i + BATCH] for i in range(0, len(jobs), BATCH))
        yield [([number for number, _ in batch], [features for _, features in batch]) for batch in batches]


def _check(rows: np.ndarray) -> None:
    """`CheckpointError` when latents are not finite or, over a sample of them, all the same."""
    means = np.asarray(rows[:: max(1, len(rows) // 1000)][:, 0])
    if not np.isfinite(means).all():
        raise CheckpointError("the tokenizer gives latents that are not finite; its weights are damaged")
    if len(means) > 1 and means.std(axis=0).max() < 1e-4:
        raise CheckpointError("the tokenizer gives the same latent for every clip; train it first")
