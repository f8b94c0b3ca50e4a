"""Speed of videos: frames per second of drawing and encoding, beside the plain way that the tests compare with.

    python -m benchmarks.video [--frames 200] [--rounds 3]

Prints JSON. Both ways make an MP4 of the same clip, in turns; `processor` is time of this process and of the encoder
together, `wall` what a person waits on this machine, `ratio` plain by fast. The target is 3.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.formats import long_motion
from mld.motion.motion import Motion
from mld.view.video import video
from tests.view.plain_video import video as plain_video

TARGET = 3.0


def seconds(make: Callable[..., None], motion: Motion, path: Path) -> tuple[float, float]:
    """Processor time with that of the encoder, and wall time, of one video."""
    before, start = os.times(), time.perf_counter()
    make(motion, path, "a person does one thing after the other")
    wall, after = time.perf_counter() - start, os.times()
    return sum(after[:4]) - sum(before[:4]), wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    motion = long_motion(options.frames)
    ways = {"plain": plain_video, "fast": video}
    best: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, make in ways.items():
                file = Path(folder) / f"{name}.mp4"
                found = dict(zip(("processor", "wall"), seconds(make, motion, file)))
                known = best.setdefault(name, {**found, "bytes": file.stat().st_size})
                known.update({key: min(value, known[key]) for key, value in found.items()})
    print(json.dumps({
        "benchmark": "video", "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "frames": options.frames, "target": TARGET,
        "ratio": {key: round(best["plain"][key] / best["fast"][key], 2) for key in ("processor", "wall")},
        "frames_per_second": {name: round(options.frames / found["wall"], 1) for name, found in best.items()},
        "bytes": {name: found["bytes"] for name, found in best.items()},
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
