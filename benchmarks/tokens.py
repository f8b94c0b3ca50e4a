"""Tokens made beforehand: how fast, with one process and several, and what a store of a million clips takes to open.

    python -m benchmarks.tokens [--clips 100000] [--stored 1000000] [--workers 1 2] [--out FOLDER] [--keep]

Writes made-up clips of 12 to 28 frames (272 columns) in shards and runs `prepare.tokens` over them with an untrained
FSQ tokenizer of the quickstart's size; then opens a store of `--stored` clips whose numbers are made up. Every part
runs in a process of its own. Prints JSON: seconds of the clock, and of all processors, as other programs may use the
machine; memory in MB is what is the process's alone (RssAnon). The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mld.checkpoint import load_model, save_model
from mld.data.config import DataConfig
from mld.data.shards.writing import write_shards
from mld.example import Caption, CaptionedClip
from mld.files import file_hash, write_array, write_json, write_text
from mld.models.registry import find
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from mld.training.token_plan import make_plan
from mld.training.token_store import PREFIX, token_store
from mld.training.token_writing import ABOUT, FILES, NAMES, OFFSETS, SUMS, VALUES

FRAMES, REPRESENTATION = (12, 28), "motion272"
SIZES = {"codes": 1024, "code_dim": 64, "width": 96, "depth": 2, "down": 2}
READ = 20_000  # clips of the large store whose tokens are read


class MadeUp:
    """Clips of noise that drifts, cut from one long row; a clip follows from its number alone."""

    name, representation, fps = "made up train", REPRESENTATION, 30.0

    def __init__(self, count: int, long: bool = True) -> None:
        rng = np.random.default_rng(0)
        width = get_representation(REPRESENTATION).width
        steps = rng.standard_normal((2**14 if long else 64, width), dtype=np.float32) * 0.05
        self._row = torch.from_numpy((np.cumsum(steps, axis=0) % 2.0).astype(np.float32))
        self.lengths = rng.integers(FRAMES[0], FRAMES[1] + 1, size=count)
        self.problems: list = []
        self.fingerprint = hashlib.sha256(self.lengths.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        first = index * 7919 % (len(self._row) - FRAMES[1])
        features = self._row[first : first + int(self.lengths[index])]
        return CaptionedClip(f"{index:07d}", features, ("a person moves",), self.fps)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return (Caption("a person moves"),)

    def report(self) -> str:
        return self.name


def write(out: Path, clips: int) -> dict:
    """Shards of made-up clips, and the tokenizer."""
    made = MadeUp(clips)
    write_shards(made, "train", out / "shards")
    torch.manual_seed(0)
    cls, rows = find("tokenizer", "fsq_ae"), made._row
    config = cls.Config(representation=REPRESENTATION, **SIZES)
    statistics = Normalizer(rows.mean(0), rows.std(0) + 1e-3, "fitted")
    save_model(cls(config, statistics), out / "tokenizer")
    return {"clips": clips, "frames": int(made.lengths.sum())}


def tokens(out: Path, workers: int) -> dict:
    """`prepare.tokens` as a user calls it."""
    command = ["-m", "prepare.tokens", "--tokenizer", out / "tokenizer", "--workers", workers]
    command += ["--out", out / f"{workers}"]
    data = ["data.source=shards", f"data.root={out / 'shards'}", "data.min_frames=1", "data.max_frames=40"]
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command), *data], check=True, stdout=subprocess.DEVNULL)
    wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    (values,) = (out / f"{workers}").glob(f"{PREFIX}*/{VALUES}")
    cpu = used.ru_utime + used.ru_stime
    return {"processes": workers, "seconds": round(wall, 1), "processor_seconds": round(cpu, 1),
            "values": file_hash(values)[:16]}  # fmt: skip


def make_large(out: Path, clips: int) -> dict:
    """A store of made-up codes, as `prepare.tokens` leaves one."""
    tokenizer, source = load_model(out / "tokenizer"), MadeUp(clips, long=False)
    plan = make_plan(tokenizer, source, settings())
    folder = out / "large" / f"{PREFIX}{plan.key}"
    folder.mkdir(parents=True)
    offsets = plan.offsets(tokenizer.layout)
    codes = np.random.default_rng(1).integers(0, tokenizer.layout.codebook_size, offsets[-1]).astype(np.uint16)
    write_array(folder / VALUES, codes)
    write_array(folder / OFFSETS, offsets)
    write_text(folder / NAMES, "".join(f'"{number:07d}"\n' for number in range(clips)))
    write_json(folder / ABOUT, {"tokenizer": plan.tokenizer, "clips": plan.clips})
    paths = [folder / name for name in FILES]
    write_text(folder / SUMS, "".join(f"{file_hash(path)} {path.stat().st_size} {path.name}\n" for path in paths))
    return {"megabytes": round(sum(path.stat().st_size for path in paths) / 1e6, 1)}


def open_large(out: Path, clips: int) -> dict:
    """What a training run does with it."""
    tokenizer, source = load_model(out / "tokenizer"), MadeUp(clips, long=False)
    before, start, used = memory(), time.perf_counter(), time.process_time()
    store = token_store(tokenizer, source, settings(), out / "large")
    opened, cpu = time.perf_counter() - start, time.process_time() - used
    order = np.random.default_rng(2).integers(0, clips, READ)
    used = time.process_time()
    for index in order.tolist():
        assert len(store.at(index)) == source.lengths[index] // tokenizer.layout.frames_per_token
    read = (time.process_time() - used) / READ
    return {"clips": len(store), "open_s": round(opened, 2), "open_processor_s": round(cpu, 2), "all_mb": memory(),
            "of_the_store_mb": memory() - before, "microseconds_a_clip": round(read * 1e6, 1)}  # fmt: skip


def settings() -> DataConfig:
    return DataConfig(representation=REPRESENTATION)


def memory() -> int:
    """MB of this process alone."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024)


PARTS = {"write": write, "tokens": tokens, "make_large": make_large, "open_large": open_large}


def _apart(out: Path, part: str, number: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.tokens", "--out", str(out), "--part", part, str(number)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part[0]](args.out, int(args.part[1]))))
        return
    out = args.out or Path(tempfile.mkdtemp(prefix="tokens-"))
    out.mkdir(exist_ok=True)
    try:
        found = {"written": _apart(out, "write", args.clips),
                 "tokens": [_apart(out, "tokens", workers) for workers in args.workers]}  # fmt: skip
        found["large"] = _apart(out, "make_large", args.stored) | _apart(out, "open_large", args.stored)
        found["same"] = len({one["values"] for one in found["tokens"]}) == 1
        print(json.dumps(found, indent=2))
    finally:
        if not args.keep:
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
