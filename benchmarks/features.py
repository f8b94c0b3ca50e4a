"""Speed of feature extraction on one core: batches of clips of mixed lengths with a mask, against one clip at a time.

    python -m benchmarks.features [--clips 64] [--batch-size 16] [--seconds 5] [--representation humanml3d]

Prints JSON. `batched_ms` is per clip; the target is below 2 ms for clips of 200 frames. Both ways run the same code.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mld.motion import kinematics, rotations
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation


def clips(representation: Representation, count: int, lengths: Tensor) -> list[Tensor]:
    """Random smooth motions (T, J, 3) float32 in the unit of the features."""
    generator = torch.Generator().manual_seed(0)
    skeleton = representation.skeleton
    made = []
    for frames in lengths[:count].tolist():
        noise = torch.randn(frames, skeleton.num_joints - 1, 3, generator=generator).cumsum(0) * 0.02
        bones = (skeleton.offsets[1:] / skeleton.offsets[1:].norm(dim=-1, keepdim=True)).float() + noise
        bones = bones / bones.norm(dim=-1, keepdim=True) * torch.tensor(skeleton.bone_lengths[1:])[:, None]
        turn = rotations.turn_from_half_angle(torch.randn(frames, generator=generator).cumsum(0) * 0.02)
        root = torch.randn(frames, 3, generator=generator).cumsum(0) * 0.02 / skeleton.metres_per_unit
        made.append(rotations.apply_turn(turn[:, None], kinematics.place(root, bones, skeleton)))
    return made


def pad(group: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Joints (B, T, J, 3) and mask (B, T) of clips of different lengths."""
    lengths = torch.tensor([len(clip) for clip in group])
    return torch.nn.utils.rnn.pad_sequence(group, batch_first=True), torch.arange(max(lengths)) < lengths[:, None]


def milliseconds_per_clip(run: Callable[[], None], count: int, seconds: float) -> float:
    """Best of several rounds (after one to warm up), as other programs may use the machine."""
    run()
    rounds, end = [], time.perf_counter() + seconds
    while not rounds or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        rounds.append(time.perf_counter() - start)
    return 1000 * min(rounds) / count


def measure(representation: Representation, lengths: Tensor, batch_size: int, seconds: float) -> dict[str, float]:
    motions = clips(representation, len(lengths), lengths)
    ordered = sorted(motions, key=len)
    batches = [pad(ordered[i: i + batch_size]) for i in range(0, len(ordered), batch_size)]

    def batched() -> None:
        for joints, mask in batches:
            representation.encode_joints(joints, mask)

    def one_by_one() -> None:
        for clip in motions:
            representation.encode_joints(clip[None])

    fast, plain = (milliseconds_per_clip(run, len(motions), seconds) for run in (batched, one_by_one))
    return {
        "frames_mean": round(float(lengths.float().mean()), 1),
        "batched_ms": round(fast, 3),
        "batched_clips_per_second": round(1000 / fast, 1),
        "loop_ms": round(plain, 3),
        "loop_clips_per_second": round(1000 / plain, 1),
        "speedup": round(plain / fast, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure each way")
    parser.add_argument("--representation", default="humanml3d")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    representation = get_representation(arguments.representation)
    mixed = torch.randint(40, 200, (arguments.clips,), generator=torch.Generator().manual_seed(1))
    options = (arguments.batch_size, arguments.seconds)
    print(json.dumps({
        "benchmark": "features",
        "representation": representation.name,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "clips": arguments.clips,
        "batch_size": arguments.batch_size,
        "frames_200": measure(representation, torch.full((arguments.clips,), 200), *options),
        "frames_40_to_199": measure(representation, mixed, *options),
    }, indent=2))


if __name__ == "__main__":
    main()
