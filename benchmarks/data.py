"""A million clips in shards: time to open, memory, batches per second against a file per clip, resume and ranks.

    python -m benchmarks.data [--clips 1000000] [--files 20000] [--out FOLDER] [--workers 2] [--keep]

Writes made-up clips of 12 to 28 frames (humanml3d columns, float16: 11 GB for a million), the first `--files` of
them also as a HumanML3D folder, and prints JSON. Every part runs in a process of its own, so memory is its own.
Memory in MB: `anon` is what is the process's alone (RssAnon), `rss` counts mapped files as well (VmRSS). Rates are
batches per second of processor time, as other programs may use the machine, and of the clock. "cold": the pages of all
data files were given up before (POSIX_FADV_DONTNEED; the names of files stay known). The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.datamodule import FeatureWindows, MotionDataModule, collate_features
from mld.data.sampler import BatchSampler
from mld.data.shards.writing import write_shards
from mld.data.sources.opening import build_source
from mld.example import Caption, CaptionedClip
from mld.files import write_array
from mld.motion.representations.registry import get_representation

FRAMES, BATCH, WINDOW = (12, 28), 64, 16
PLACES = ("left", "right", "front", "back", "room", "street", "garden", "hall")


class MadeUp:
    """Clips of noise that drifts, each cut from one long row; a clip follows from its number alone."""

    representation, fps, name = "humanml3d", 20.0, "made up train"

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        width = get_representation(self.representation).width
        steps = rng.standard_normal((2**17, width), dtype=np.float32) * 0.05
        self._row = torch.from_numpy((np.cumsum(steps, axis=0) % 2.0).astype(np.float32))
        self.lengths = rng.integers(FRAMES[0], FRAMES[1] + 1, size=count)
        self.problems: list = []

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        first = index * 7919 % (len(self._row) - FRAMES[1])
        features = self._row[first : first + int(self.lengths[index])]
        return CaptionedClip(f"{index:07d}", features, tuple(c.text for c in self.captions(index)), self.fps)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        place = PLACES[index % len(PLACES)]
        return (Caption(f"a person walks to the {place} {index % 997} times"), Caption(f"somebody goes {place}"))

    def report(self) -> str:
        return self.name


class First:
    """The first clips of a source."""

    def __init__(self, source: ClipSource, count: int) -> None:
        self.source, self.lengths, self.name = source, source.lengths[:count], source.name

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        return self.source[index]

    def features(self, indices: Sequence[int]) -> list:
        return self.source.features(indices)


class PlainFiles:
    """A file per clip as one would write it in three lines: `numpy.load`, and nothing is checked."""

    def __init__(self, folder: Path, made: MadeUp) -> None:
        self.folder, self.made, self.lengths, self.name = folder, made, made.lengths, "plain"

    def __len__(self) -> int:
        return len(self.made)

    def __getitem__(self, index: int) -> CaptionedClip:
        features = torch.from_numpy(np.load(self.folder / f"{index:07d}.npy"))
        return CaptionedClip(f"{index:07d}", features, tuple(c.text for c in self.made.captions(index)), 20.0)


def memory() -> dict[str, int]:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return {"anon_mb": round(found["RssAnon"] / 1024), "rss_mb": round(found["VmRSS"] / 1024)}


def config(out: Path, **settings) -> DataConfig:
    given = {"source": "shards", "root": str(out / "shards"), "window": WINDOW, "batch_size": BATCH, "max_frames": 40}
    return DataConfig(**{**given, **settings})


def write(out: Path, clips: int, files: int, workers: int) -> dict:
    made = MadeUp(clips)
    out.mkdir(parents=True, exist_ok=True)
    start, used = time.perf_counter(), _processor()
    written = write_shards(made, "train", out / "shards", workers=workers)
    seconds, cpu = time.perf_counter() - start, _processor() - used
    write_shards(MadeUp(100), "val", out / "shards")
    few = MadeUp(files)
    for folder in ("new_joint_vecs", "texts"):
        (out / "files" / folder).mkdir(parents=True)
    for index in range(files):
        clip = few[index]
        write_array(out / "files/new_joint_vecs" / f"{clip.name}.npy", clip.features.numpy())
        (out / "files/texts" / f"{clip.name}.txt").write_text("".join(f"{text}##0.0#0.0\n" for text in clip.captions))
    (out / "files/train.txt").write_text("\n".join(f"{index:07d}" for index in range(files)))
    os.sync()
    size = sum(path.stat().st_size for path in (out / "shards").rglob("*.arrow"))
    return {"clips": written.clips, "shards": written.shards, "gigabytes": round(size / 1e9, 2),
            "seconds": round(seconds, 1), "processor_seconds": round(cpu, 1), "processes": workers}  # fmt: skip


def opened(out: Path) -> dict:
    """From nothing to the first batch of an epoch; then memory after many more batches."""
    torch.arange(3).float()  # torch starts its threads
    before = memory()
    start, used = time.perf_counter(), time.process_time()
    data = MotionDataModule(config(out), "features")
    source = data.train_source
    open_s, open_cpu = time.perf_counter() - start, time.process_time() - used
    batches = iter(data.train_dataloader())
    next(batches)
    first_s, first_cpu = time.perf_counter() - start, time.process_time() - used
    after = memory()
    for _, _ in zip(range(min(1000, len(source) // BATCH - 1)), batches):
        pass
    return {
        "clips": len(source), "open_s": round(open_s, 3), "open_processor_s": round(open_cpu, 3),
        "to_first_batch_s": round(first_s, 3), "to_first_batch_processor_s": round(first_cpu, 3),
        "imports_alone": before, "after_first_batch": after, "after_1000_batches": memory(),
        "with_captions_of_all": _captions(source),
    }  # fmt: skip


def _captions(source: ClipSource) -> dict:
    used = time.process_time()
    total = sum(len(source.captions(index)) for index in range(0, len(source), 10))
    return {"of_every_tenth_clip": total, "processor_s": round(time.process_time() - used, 2), **memory()}


def rate(out: Path, kind: str, clips: int, seconds: float, cold: bool) -> dict:
    """Batches per second of the first `clips` clips, as `shards`, `files` (the HumanML3D layout) or `plain` files."""
    if kind == "shards":
        source: ClipSource = First(build_source(config(out), "train"), clips)
    elif kind == "files":
        source = build_source(config(out, source="humanml3d", root=str(out / "files"), min_frames=1), "train")
    else:
        source = PlainFiles(out / "files/new_joint_vecs", MadeUp(clips))
    dataset = FeatureWindows(source, config(out))
    if cold:
        _forget(out)
    else:
        for _ in _batches(dataset, clips // BATCH):
            pass
    count, start, used = 0, time.perf_counter(), time.process_time()
    for _ in _batches(dataset, clips // BATCH if cold else 10**9):
        count += 1
        if time.process_time() - used > seconds:
            break
    cpu, wall = time.process_time() - used, time.perf_counter() - start
    return {"batches_per_processor_s": round(count / cpu, 1), "batches_per_s": round(count / wall, 1), **memory()}


def _batches(dataset: FeatureWindows, most: int) -> Iterator:
    sampler = BatchSampler(dataset.lengths, BATCH, 0)
    for epoch in range(10**6):
        sampler.set_epoch(epoch)
        for batch in sampler:
            if not most:
                return
            most -= 1
            yield collate_features(dataset.__getitems__(batch))


def _forget(out: Path) -> None:
    os.sync()
    for path in out.rglob("*.*"):
        if path.suffix in (".arrow", ".npy"):
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resumed(out: Path, at: int = 40, then: int = 20) -> dict:
    """Whether batches after an interruption are those of a run without one, whatever the workers and ranks."""
    data = MotionDataModule(config(out), "features")
    loader = data.train_dataloader()
    prints = [_print(batch) for _, batch in zip(range(at + then), loader)]
    state = loader.batch_sampler.state_dict(at)
    same = {}
    for workers in (0, 1, 2, 4):
        again = MotionDataModule(config(out, num_workers=workers), "features").train_dataloader()
        again.batch_sampler.load_state_dict(state)
        same[str(workers)] = [_print(batch) for _, batch in zip(range(then), again)] == prints[at:]
    lengths = data.train_source.lengths
    items = _items(BatchSampler(lengths, BATCH, 0), 32)
    ranks = {}
    for world in (1, 2, 4):
        parts = [_items(BatchSampler(lengths, BATCH // world, 0, True, rank, world), 32) for rank in range(world)]
        ranks[str(world)] = [item for group in zip(*parts) for item in group] == items
    return {"state": state, "same_after_resume_with_workers": same, "same_order_on_ranks": ranks}


def _items(sampler: BatchSampler, batches: int) -> list:
    return [item for _, batch in zip(range(batches), sampler) for item in batch]


def _print(batch) -> str:
    return hashlib.sha256(repr(batch.names).encode() + batch.features.numpy().tobytes()).hexdigest()


def _processor() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=20_000, help="of them as a file each (default: 20000)")
    parser.add_argument("--out", help="folder to write to; must be new (default: a temporary one)")
    parser.add_argument("--workers", type=int, default=2, help="processes that write")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part:
        print(json.dumps(_part(args.part, Path(args.out), args)))
        return
    out = Path(args.out or tempfile.mkdtemp(prefix="mld-data-"))
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        parser.error(f"--out {out}: not empty; name a new folder")
    files = min(args.files, args.clips)
    try:
        found = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, "
                            f"Python {platform.python_version()}",
                 "write": write(out, args.clips, files, args.workers)}  # fmt: skip
        for part in ("open", "resume", *(f"{state} {kind}" for state in ("warm", "cold")
                                         for kind in ("shards", "files", "plain"))):  # fmt: skip
            command = [sys.executable, "-m", "benchmarks.data", "--part", part, "--out", str(out)]
            command += ["--files", str(files), "--seconds", str(args.seconds)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[part] = json.loads(done.stdout)
            print(f"{part}: {found[part]}", file=sys.stderr)
        for state, unit in (("warm", "batches_per_processor_s"), ("cold", "batches_per_s")):
            ours = found[f"{state} shards"][unit]
            found[f"{state}_times_as_fast"] = {
                kind: round(ours / found[f"{state} {kind}"][unit], 2) for kind in ("files", "plain")
            }
        print(json.dumps(found, indent=2))
    finally:
        if not args.keep:
            shutil.rmtree(out)


def _part(part: str, out: Path, args: argparse.Namespace) -> dict:
    if part == "open":
        return opened(out)
    if part == "resume":
        return resumed(out)
    state, kind = part.split()
    return rate(out, kind, args.files, args.seconds, state == "cold")


if __name__ == "__main__":
    main()
