"""The tokens of all training clips, made once with the frozen tokenizer before a generator is trained.

Of a tokenizer whose tokens stand for frames, the tokens of each whole clip are kept; stretches are cut out of them. Of
one that makes a clip a set of latents, those of every stretch that an example can be made of, as posteriors and not as
samples: training still draws fresh noise. All lie in one array on disk, codes in the smallest type that holds them,
latents in float32 (what encoding gives, to the bit), read clip by clip. Where a clip's tokens
begin is told by a second array. One latent of 256 numbers takes 2 KB, so all tasks of 25,000 clips (15 stretches each)
0.8 GB of disk and text-to-motion alone 0.15 GB; codes of a million clips take 0.1 GB.

The name of a store follows from all it depends on, clips and weights included; it may be deleted at any time. Making it
goes on where it was interrupted. What was damaged since is known by its checksums, and made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.instructions import InstructionSet, stretches
from mld.data.mixture import Mixture
from mld.errors import CheckpointError, DataError, one_line
from mld.example import CaptionedClip
from mld.files import file_hash, parse_json, write_array, write_text
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout
from mld.padding import padded
from mld.reading import check_file, read_text
from mld.training.array_file import ArrayFile
from mld.training.tokenizer_module import whole_units

FORMAT = 2  # of the arrays, and of the way to the numbers in them
BATCH, GROUP = 64, 256  # stretches encoded at once; clips held in memory at once
VALUES, OFFSETS, SUMS, DONE = "values.npy", "offsets.npy", "sha256", "groups_done"
Stretch = tuple[int, int]
# What NumPy says about a file that is not an array of its own.
DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError,
          tokenize.TokenError)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Which stretches of a clip are kept: consecutive entries of the store, from number `first` on."""

    index: int
    first: int
    stretches: tuple[Stretch, ...]


class TokenStore(Mapping[str, "Tensor | dict[Stretch, Tensor]"]):
    """By clip name: codes (L,) int64, latents (L, C) or posteriors (2, L, C), means and log variances, of the clip; of
    a tokenizer of whole clips, these by stretch. Files are opened when first read, in each process for itself."""

    def __init__(self, folder: Path, places: Mapping[str, Place], layout: TokenLayout) -> None:
        self.folder, self.places, self.layout = folder, dict(places), layout
        self._arrays: tuple[ArrayFile, ArrayFile] | None = None

    def __getitem__(self, name: str) -> Tensor | dict[Stretch, Tensor]:
        place = self.places[name]
        if self._arrays is None:
            self._arrays = ArrayFile(self.folder / VALUES), ArrayFile(self.folder / OFFSETS)
        found = {stretch: self._entry(place.first + i) for i, stretch in enumerate(place.stretches)}
        return found[place.stretches[0]] if self.layout.frames_per_token else found

    def _entry(self, number: int) -> Tensor:
        values, offsets = self._arrays
        rows = values.rows(*offsets.rows(number, number + 2).tolist())
        if self.layout.codebook_size:
            return torch.from_numpy(rows.astype(np.int64))
        found = torch.from_numpy(rows)
        return found.transpose(0, 1).contiguous() if found.ndim == 3 else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_arrays": None}

    def bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def report(self) -> str:
        """`1,200 stretches of 400 clips, 2.5 MB, in FOLDER`."""
        total = sum(len(place.stretches) for place in self.places.values())
        return f"{total:,} stretches of {len(self):,} clips, {self.bytes() / 1e6:,.1f} MB, in {self.folder}"


def token_store(
    tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig, folder: str | Path
) -> TokenStore | None:
    """The tokens of all stretches that examples of `source` can be made of; none if no task has motion in it.

    Found in `folder`, or made there under a progress bar. `DataError` when the disk is too small, `CheckpointError` for
    a tokenizer that was never trained."""
    places, key = _survey(tokenizer, source, cfg)
    if not any(place.stretches for place in places.values()):
        return None
    made = Path(folder) / f"tokens-{key}"
    lock = made.with_name(f".{made.name}.lock")  # processes of one run may come here at once
    try:
        if not _whole(made):
            made.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not _whole(made):
                    if made.exists():
                        print(one_line(f"{made}: damaged; made anew"), file=sys.stderr)
                        _remove(made)
                    _write(tokenizer, source, places, made)
    finally:
        lock.unlink(missing_ok=True)
    return TokenStore(made, places, tokenizer.layout)


@torch.no_grad()
def tokenize(tokenizer: MotionTokenizer, clips: Sequence[CaptionedClip]) -> dict[str, Tensor]:
    """What a store would keep of whole clips, on the CPU by clip name: codes (L,), latents (L, C) or posteriors
    (2, L, C). The clips are encoded as one batch."""
    if not clips:
        return {}
    return dict(zip([clip.name for clip in clips], encoded(tokenizer, [clip.features for clip in clips])))


@torch.no_grad()
def encoded(tokenizer: MotionTokenizer, features: Sequence[Tensor]) -> list[Tensor]:
    """The same of stretches (T, D) of raw features; frames beyond a whole number of tokens are left out."""
    unit = tokenizer.layout.frames_per_token
    rows = [whole_units(row, unit) for row in features]
    tokens, mask = tokenizer.stored(*padded(rows, tokenizer.device))
    counts = mask.sum(1).tolist()
    per_vector = tokens.ndim == 4  # (B, 2, L, C)
    return [row[:, :n].cpu() if per_vector else row[:n].cpu() for row, n in zip(tokens, counts)]


def _survey(tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig) -> tuple[dict[str, Place], str]:
    """Where each clip's tokens are to be, and a hash of everything that they follow from."""
    instructions = InstructionSet.load(cfg.instructions)
    motions = instructions.motions(Mixture(instructions.subtasks, cfg.tasks).drawn)
    whole = bool(tokenizer.layout.frames_per_token)
    known: dict[Stretch, tuple[Stretch, ...]] = {}  # by length and what is given of it, so that clips share them
    places: dict[str, Place] = {}
    total = blake2b(repr((FORMAT, tokenizer.describe())).encode(), digest_size=8)
    for name, value in tokenizer.state_dict().items():
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    first = 0
    for index in tqdm(range(len(source)), desc="looking through clips", unit="clip", leave=False):
        clip = source[index]
        length, kind = clip.num_frames, (clip.num_frames, clip.history)
        if kind not in known:
            known[kind] = ((0, length),) if whole else stretches(length, motions, cfg, clip.history)
        places[clip.name] = Place(index, first, known[kind])
        first += len(known[kind])
        total.update(repr((clip.name, known[kind])).encode())
        total.update(np.ascontiguousarray(clip.features.numpy()))
    return places, total.hexdigest()


def _write(tokenizer: MotionTokenizer, source: ClipSource, places: dict[str, Place], made: Path) -> None:
    """Encode all stretches. Clips of similar length are read together, each once; their stretches too are sorted.

    A store in the making is a folder `.partial`, in which checksums of the finished groups are written down."""
    partial = made.with_name(f"{made.name}.partial")
    layout, entries = tokenizer.layout, sum(len(place.stretches) for place in places.values())
    offsets = np.concatenate([[0], np.cumsum([_count(layout, b - a) for p in places.values() for a, b in p.stretches])])
    tokenizer.eval()
    order = sorted(places.values(), key=lambda place: source.num_frames(place.index))
    groups = [order[start : start + GROUP] for start in range(0, len(order), GROUP)]
    values, sums = _interrupted(partial, groups, offsets)
    with tqdm(total=entries, desc="motion to tokens", unit="stretch", leave=False) as bar:
        bar.update(sum(len(place.stretches) for group in groups[: len(sums)] for place in group))
        for group in groups[len(sums) :]:
            batches = _batches(source, group)
            for numbers, features in batches:
                tokens = encoded(tokenizer, features)
                if values is None:
                    values = _allocate(tokens[0], layout, int(offsets[-1]), len(places), partial)
                for entry, row in zip(numbers, tokens):
                    row = row.transpose(0, 1) if row.ndim == 3 else row
                    values[offsets[entry] : offsets[entry + 1]] = row.numpy()
                bar.update(len(numbers))
            values.flush()
            sums.append(_sum(values, group, offsets))
            write_text(partial / DONE, json.dumps(sums))
    try:
        _check(values, layout, len(places))
    except CheckpointError:
        del values
        shutil.rmtree(partial)
        raise
    del values
    write_array(partial / OFFSETS, offsets)
    paths = [partial / name for name in (VALUES, OFFSETS)]
    write_text(partial / SUMS, "".join(f"{file_hash(path)} {check_file(path)} {path.name}\n" for path in paths))
    (partial / DONE).unlink()
    os.replace(partial, made)


def _whole(made: Path) -> bool:
    """Whether a store is as it was written. Reads all of it."""
    try:
        lines = read_text(made / SUMS).split("\n")
        for name in (VALUES, OFFSETS):
            size = check_file(made / name)
            known = next((line.split() for line in lines if line.endswith(f" {size} {name}")), None)
            if known is None or file_hash(made / name) != known[0]:
                return False
    except (OSError, ValueError):
        return False
    return True


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _interrupted(
    partial: Path, groups: Sequence[Sequence[Place]], offsets: np.ndarray
) -> tuple[np.ndarray | None, list[int]]:
    """The array of an earlier attempt and the checksums of its groups, as far as they hold; none, []."""
    try:
        sums = parse_json(read_text(partial / DONE))
        check_file(partial / VALUES)
        values = np.lib.format.open_memmap(partial / VALUES, "r+")
        if len(values) != offsets[-1] or not isinstance(sums, list) or not sums:
            raise ValueError("of another store")
        good = [one for one, group in zip(sums, groups) if _sum(values, group, offsets) == one]
        if good != sums:
            raise ValueError("changed since")
        return values, sums
    except DAMAGE:
        if partial.exists() or partial.is_symlink():
            _remove(partial)
        return None, []


def _sum(values: np.ndarray, group: Sequence[Place], offsets: np.ndarray) -> int:
    """CRC-32 of the tokens of a group of clips."""
    found = 0
    for place in group:
        rows = values[offsets[place.first] : offsets[place.first + len(place.stretches)]]
        found = crc32(np.ascontiguousarray(rows), found) if rows.size else found
    return found


def _count(layout: TokenLayout, frames: int) -> int:
    """Tokens of a stretch; one that is shorter than a token has one all the same."""
    return layout.count(max(frames, layout.shortest))


def _allocate(tokens: Tensor, layout: TokenLayout, total: int, clips: int, folder: Path) -> np.ndarray:
    """The array of all tokens, on disk; the first ones say what shape one has."""
    shape = (total, *((tokens.shape[0], tokens.shape[2]) if tokens.ndim == 3 else tokens.shape[1:]))
    dtype = np.dtype(np.min_scalar_type(layout.codebook_size - 1) if layout.codebook_size else np.float32)
    size, free = dtype.itemsize * int(np.prod(shape)), shutil.disk_usage(folder.parent).free
    if size > 0.95 * free:
        raise DataError(
            f"the tokens of {clips:,} clips take {size / 1e9:.1f} GB, {folder.parent} has {free / 1e9:.1f} GB;"
            " make room, or, for latents, set training.cache_latents=false (slower)"
        )
    folder.mkdir(exist_ok=True)
    values = np.lib.format.open_memmap(folder / VALUES, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # a mapped file that finds no room when it is written ends the process
        with open(folder / VALUES, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return values


def _batches(source: ClipSource, group: Sequence[Place]) -> list[tuple[list[int], list[Tensor]]]:
    """Batches (entries, features of their stretches) of a group of clips."""
    jobs: list[tuple[int, Tensor]] = []
    for place in group:
        features = source[place.index].features
        jobs += [(place.first + i, features[a:b]) for i, (a, b) in enumerate(place.stretches)]
    jobs.sort(key=lambda job: len(job[1]))
    batches = (jobs[i : i + BATCH] for i in range(0, len(jobs), BATCH))
    return [([number for number, _ in batch], [features for _, features in batch]) for batch in batches]


def _check(values: np.ndarray, layout: TokenLayout, clips: int) -> None:
    """`CheckpointError` when tokens are not finite or, over a sample of latents, all the same."""
    if layout.codebook_size:
        if clips > 1 and layout.codebook_size > 1 and values.min() == values.max():
            raise CheckpointError("the tokenizer gives the same token for every frame of every clip; train it first")
        return
    rows = np.asarray(values[:: max(1, len(values) // 1000)])
    means = rows[:, 0] if rows.ndim == 3 else rows
    if not np.isfinite(means).all():
        raise CheckpointError("the tokenizer gives latents that are not finite; its weights are damaged")
    if len(means) > 1 and means.std(axis=0).max() < 1e-4:
        raise CheckpointError("the tokenizer gives the same latent for every clip; train it first")
