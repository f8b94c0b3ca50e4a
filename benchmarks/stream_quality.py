"""What samplers, steps, weights, windows and hops of a streaming model cost, and what becomes of its motion.

    python -m benchmarks.stream_quality --model DIR [--ways ddpm:50 dpm++:10 ddpm:50:int8] [--windows 36:8 76:1]
                                        [--seconds 20] [--texts 10] [--seed 1]

Every way makes the same texts with the same seeds, all together; windows are tried with the model's own sampler. Prints
JSON, per way: ms of a latent of all rows (median, 95th percentile), Frechet distance of its latents to those of the
reference (50 ancestral steps, exact weights, other seeds; first and second half apart, as long streams may drift), mean
jerk (mm/frame^3), speed of the root (m/s), share of frame pairs in which a foot slides. The row `reference` is the same
way as the reference with the seeds of the others: what is as near as that cannot be told apart.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mld import packaged
from mld.checkpoint import load_model
from mld.engine.streaming.session import Recovery
from mld.example import Text
from mld.metrics.embeddings import fid
from mld.metrics.physical import jerk, skating
from mld.models.families.motionstreamer.decoding import LatentRows
from mld.models.families.motionstreamer.model import MotionStreamer
from mld.models.noise import RowNoise
from mld.models.quantization import round_weights
from mld.motion.representations.registry import get_representation
from tasks.lines import read_lines

REFERENCE = "ddpm:50:float32"
OTHER = 10_000  # added to the seeds of the reference


def opened(folder: str, way: str, window: str = "") -> MotionStreamer:
    """The model with "sampler:steps[:weights]" and "window:hop"."""
    sampler, steps, *weights = way.split(":")
    model = load_model(folder)
    config = replace(model.config, head=replace(model.config.head, sampler=sampler, num_inference_steps=steps))
    if window:
        length, hop = map(int, window.split(":"))
        config = replace(config, window=length, hop=hop)
    model.adopt(config)
    round_weights(model, weights[0] if weights else "float32")
    return model.eval()


@torch.no_grad()
def made(model: MotionStreamer, texts: list[str], count: int, seed: int) -> tuple[Tensor, Tensor, list[float]]:
    """Latents (B, n, C) and joints (B, 4n, J, 3) of the texts, and the seconds of each step."""
    numbers, rows = list(range(len(texts))), LatentRows(model, len(texts))
    for row, text in enumerate(texts):
        rows.begin(row, model.prompt([Text(text)], "motion"))
    noise, latents, seconds = RowNoise([seed + row for row in numbers]), [], []
    for number in range(count):
        start = time.perf_counter()
        latent, _ = rows.draw(numbers, noise, [number] * len(texts))
        rows.append(numbers, latent)
        seconds.append(time.perf_counter() - start)
        latents.append(latent)
    found, representation = torch.stack(latents, 1), get_representation(model.representation)
    features = model.tokenizer.stream(len(texts)).push(found)
    joints = torch.stack([Recovery(representation).push(row) for row in features])
    return found, joints, seconds


def described(
    latents: Tensor, joints: Tensor, seconds: list[float], reference: Tensor, model: MotionStreamer
) -> dict[str, Any]:  # fmt: skip
    representation, half = get_representation(model.representation), latents.shape[1] // 2
    skeleton, fps, times = representation.skeleton, representation.fps, sorted(seconds)
    feet = (skeleton.left_foot[-1], skeleton.right_foot[-1])
    travelled = joints[:, :, 0, (0, 2)].diff(dim=1).norm(dim=-1)
    distances = [fid(part.flatten(0, 1), reference.flatten(0, 1)) for part in (latents[:, :half], latents[:, half:])]
    return {
        "p50_ms": round(1000 * times[len(times) // 2], 2), "p95_ms": round(1000 * times[int(0.95 * len(times))], 2),
        "frechet_first_half": round(float(distances[0]), 3), "frechet_second_half": round(float(distances[1]), 3),
        "jerk_mm": round(1000 * float(jerk(joints.double()).mean()), 3),
        "speed_m_s": round(fps * float(travelled.mean()), 3),
        "skating": round(float(skating(joints.double(), feet, fps).double().mean()), 4),
    }  # fmt: skip


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--model", required=True, metavar="DIR")
    command.add_argument("--ways", nargs="*", default=["ddpm:20", "ddpm:10", "ddim:10", "dpm++:10", "dpm++:5"])
    command.add_argument("--windows", nargs="*", default=[], help="window:hop")
    command.add_argument("--seconds", type=float, default=20)
    command.add_argument("--texts", type=int, default=10)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--threads", type=int, default=1)
    options = command.parse_args()
    torch.set_num_threads(options.threads)
    texts = [line for _, line in read_lines(packaged.demos() / "t2m.txt")][: options.texts]
    texts = [text.split("#")[0] for text in texts]
    count = int(options.seconds * 30 / 4)
    reference, _, _ = made(opened(options.model, REFERENCE), texts, count, OTHER)
    own = load_model(options.model).config.head
    runs = {"reference": (REFERENCE, ""), **{way: (way, "") for way in options.ways}}
    runs |= {f"window {one}": (f"{own.sampler}:{own.num_inference_steps}", one) for one in options.windows}
    rows = {}
    for name, (way, window) in runs.items():
        model = opened(options.model, way, window)
        rows[name] = described(*made(model, texts, count, options.seed), reference, model)
        print(json.dumps({name: rows[name]}), flush=True)
    print(json.dumps({"model": options.model, "rows": len(texts), "latents": count, "ways": rows}, indent=2))


if __name__ == "__main__":
    main()
