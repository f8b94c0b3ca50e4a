"""Speed of motion files on one core: frames per second of import and export, for every format that is read and written.

    python -m benchmarks.formats [--frames 10000] [--seconds 3] [--formats bvh glb] [--files WALK.amc ...]

Prints JSON, in frames per second of processor time. `import` opens the file, finds unit and axes and maps the joints;
`export` writes a motion that has rotations; `export_from_joints` solves them first. `read` and `write` of BVH are the
file alone, to and from its own skeleton; the target of BVH is 50,000 either way. `--files` measures the import of files
of one's own, such as AMC, which are not written here.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mld.data.sources.procedural import ProceduralSource
from mld.motion.formats import suffixes
from mld.motion.formats.bvh import read_rig
from mld.motion.formats.bvh_write import write_bvh
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig

BVH_TARGET = 50_000


def long_motion(frames: int) -> Motion:
    """Made-up actions played forwards and backwards until there are enough frames; joints only."""
    source = ProceduralSource(4, seed=0)
    joints = torch.cat([torch.as_tensor(source.joints(index), dtype=torch.float32) for index in range(len(source))])
    once = torch.cat([joints, joints.flip(0)])
    return Motion(once.repeat(-(-frames // len(once)), 1, 1)[:frames], 20.0)


def with_rotations(motion: Motion) -> Motion:
    rig = to_rig(motion)
    return Motion(rig.positions(), motion.fps, motion.skeleton, rig.rotations, rig.translation)


def frames_per_second(run: Callable[[], object], frames: int, seconds: float) -> int:
    """Best of several rounds, after one to warm up, in time of this process: other programs may use the machine."""
    run()
    rounds, end = [], time.perf_counter() + seconds
    while len(rounds) < 2 or time.perf_counter() < end:
        start = time.process_time()
        run()
        rounds.append(time.process_time() - start)
    return round(frames / min(rounds))


def measure(suffix: str, joints: Motion, turned: Motion, folder: Path, seconds: float) -> dict[str, float]:
    """Frames per second of one format each way."""
    path, frames = folder / f"motion{suffix}", joints.num_frames
    found = {
        "export": frames_per_second(lambda: turned.save(path), frames, seconds),
        "export_from_joints": frames_per_second(lambda: joints.save(path), frames, seconds),
        "import": frames_per_second(lambda: Motion.load(path), frames, seconds),
        "bytes_per_frame": round(path.stat().st_size / frames, 1),
    }
    if suffix == ".bvh":
        rig = to_rig(turned)
        found["write"] = frames_per_second(lambda: write_bvh(rig, path), frames, seconds)
        found["read"] = frames_per_second(lambda: read_rig(path), frames, seconds)
        found["meets_target"] = min(found["write"], found["read"]) >= BVH_TARGET
    return found


def measure_tensor(joints: Motion, folder: Path, seconds: float) -> dict[str, float]:
    """Import of a saved tensor, which is read but not written."""
    torch.save(joints.joints, folder / "motion.pt")
    return {"import": frames_per_second(lambda: Motion.load(folder / "motion.pt"), joints.num_frames, seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to measure each way")
    parser.add_argument("--formats", nargs="+", help="without the dot; all by default")
    parser.add_argument("--files", nargs="+", type=Path, default=[], help="motion files to import")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    joints, seconds = long_motion(arguments.frames), arguments.seconds
    turned = with_rotations(joints)
    wanted = [suffix for suffix in suffixes() if not arguments.formats or suffix.lstrip(".") in arguments.formats]
    with TemporaryDirectory() as name:
        results = {suffix.lstrip("."): measure(suffix, joints, turned, Path(name), seconds) for suffix in wanted}
        if not arguments.formats or "pt" in arguments.formats:
            results["pt"] = measure_tensor(joints, Path(name), seconds)
    files = {}
    for path in arguments.files:
        frames = Motion.load(path).num_frames
        speed = frames_per_second(lambda path=path: Motion.load(path), frames, seconds)
        files[path.name] = {"frames": frames, "import": speed}
    print(json.dumps({
        "benchmark": "formats",
        "unit": "frames per second of processor time",
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "frames": arguments.frames,
        "bvh_target": BVH_TARGET,
        "formats": results,
        "files": files,
    }, indent=2))


if __name__ == "__main__":
    main()
