"""Speed of streams: milliseconds per latent, split by part, against a naive loop, and how many run in real time.

    python -m benchmarks.streaming [--size demo|published] [--latents 30] [--rounds 3] [--sessions 1 4 16]
                                   [--steps 50 20 10] [--threads 2] [--model DIR]

Prints JSON. Weights are random unless a model folder is named (speed does not depend on them). `naive` makes a latent
as published: the whole prefix again through the network, a call of the head per denoising step, everything so far
decoded anew; its text is encoded once. Ways of a comparison take turns in one run and give the same latents (the
largest difference is told). real_time: 4 frames at 30 fps last 133 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mld.checkpoint import load_model
from mld.engine.streaming.batcher import Batcher
from mld.models.backbones.llama import LlamaConfig
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.families.motionstreamer.decoding import LatentRows, Prompt
from mld.models.families.motionstreamer.model import MotionStreamer
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.heads.diffusion_sampling import PlainSampler
from mld.models.noise import RowNoise
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from mld.motion.representations.registry import get_representation

REAL_TIME = 4 / 30
HEAD = {"pooling": False, "noise_schedule": "cosine", "diffusion_steps": 50}
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"architecture": LlamaConfig(4, 4, 256), "head": {"width": 320, "depth": 3}, "tae": {"width": 160}},
    "published": {"architecture": LlamaConfig(), "head": {"width": 1792, "depth": 9}, "tae": {}},
}  # fmt: skip
TEXTS = ("a person walks forward", "someone waves with the right hand", "a man sits down", "she turns left")


def untrained(size: str, steps: int) -> MotionStreamer:
    """A model with random weights."""
    torch.manual_seed(0)
    sizes = SIZES[size]
    head = DiffusionHeadConfig(**HEAD, **sizes["head"], num_inference_steps=str(steps))
    config = MotionStreamerConfig(architecture=sizes["architecture"], head=head)
    parts = {"tokenizer": CausalAE(CausalAEConfig(**sizes["tae"])), "text": open_text_encoder("minilm")}
    return MotionStreamer.create(config, parts, []).eval()


def prompt(model: MotionStreamer, text: str) -> Prompt:
    features = model.text.encode([text])[0].sentence
    return Prompt(features, torch.zeros(0, len(model.end_latent)))


@torch.no_grad()
def naive(model: MotionStreamer, text: str, seed: int, count: int) -> tuple[Tensor, list[float]]:
    """Latents (n, C) the published way, and the seconds of each."""
    told, null, steps = prompt(model, text), model.null_text(), model.head.steps
    sampler = PlainSampler(model.head.net, model.head.short_chain)
    latents, seconds = torch.zeros(0, len(model.end_latent)), []
    for number in range(count):
        start = time.perf_counter()
        seen = latents[-model.config.window :][None]
        conditions = [model.conditions(text[None], seen)[:, -1] for text in (told.text, null)]
        noise = RowNoise([seed]).normal(number, (steps + 1, 1, latents.shape[1]))
        guidance = model.head.guidance(conditions[0][:, None], model.config.guidance_scale, conditions[1][:, None])
        *_, last = sampler.run(guidance, noise, model.config.temperature)
        latents = torch.cat((latents, last.state[:, 0]))
        model.tokenizer.decode(latents[None], torch.ones(1, len(latents), dtype=torch.bool))
        seconds.append(time.perf_counter() - start)
    return latents, seconds


def fast(model: MotionStreamer, text: str, seed: int, count: int) -> tuple[Tensor, list[float]]:
    """The same by `LatentRows` and the decoder in pieces."""
    rows, decoder = LatentRows(model, 1), model.tokenizer.stream()
    rows.begin(0, prompt(model, text))
    latents, seconds = [], []
    for number in range(count):
        start = time.perf_counter()
        latent, _ = rows.draw([0], RowNoise([seed]), [number])
        rows.append([0], latent)
        decoder.push(latent[:, None])
        seconds.append(time.perf_counter() - start)
        latents.append(latent[0])
    return torch.stack(latents), seconds


def parts(model: MotionStreamer, count: int) -> dict[str, float]:
    """Milliseconds of the parts of a latent, medians: text, transformer, head, decoder, place in the world."""
    from mld.engine.streaming.session import Recovery

    rows, decoder = LatentRows(model, 1), model.tokenizer.stream()
    recovery = Recovery(get_representation(model.representation))
    found: dict[str, list[float]] = {name: [] for name in ("text", "transformer", "head", "decoder", "recovery")}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        found[name].append(time.perf_counter() - start)
        return made

    for number in range(count):
        told = timed("text", lambda number=number: model.text.compute([f"{TEXTS[number % 4]} {number}"])[0].sentence)
        if not number:
            rows.begin(0, Prompt(told, torch.zeros(0, len(model.end_latent))))
        conditions = timed("transformer", lambda: rows.conditions([0]))
        latent = timed("head", lambda c=conditions, n=number: model.sample(c, RowNoise([0]), [n]))
        rows.append([0], latent)
        features = timed("decoder", lambda z=latent: decoder.push(z[:, None]))
        timed("recovery", lambda f=features: recovery.push(f[0]))
    return {name: round(1000 * statistics.median(values), 2) for name, values in found.items()}


def together(model: MotionStreamer, sessions: int, count: int) -> dict[str, Any]:
    """Milliseconds of a step of so many sessions, median and 95th percentile, and whether that is real time."""
    batcher = Batcher(model, get_representation(model.representation))
    opened = [batcher.open(TEXTS[i % 4], seed=i) for i in range(sessions)]
    batcher.step()
    seconds = []
    for number in range(count):
        if number % 5 == 4:
            batcher.say(opened[number % sessions], TEXTS[(number + 1) % 4])
        start = time.perf_counter()
        batcher.step()
        seconds.append(time.perf_counter() - start)
    return {**percentiles(seconds), "real_time": percentile(seconds, 95) <= REAL_TIME}


def first_frames(model: MotionStreamer, count: int) -> dict[str, float]:
    """Milliseconds from words that were never said before to the first frames, text encoding included."""
    batcher, seconds = Batcher(model, get_representation(model.representation)), []
    for number in range(count):
        start = time.perf_counter()
        session = batcher.open(f"{TEXTS[number % 4]} {time.time_ns()}", seed=number)
        batcher.step([session])
        seconds.append(time.perf_counter() - start)
        batcher.close(session)
    return percentiles(seconds)


def percentile(seconds: Sequence[float], share: int) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(share / 100 * (len(seconds) - 1)))]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}_ms": round(1000 * percentile(seconds, share), 2) for share in (50, 95)}


def compare(model: MotionStreamer, count: int, rounds: int) -> dict[str, Any]:
    """The naive loop and the fast one, by turns: percentiles of the best round, ratio of medians, difference."""
    best: dict[str, list[float]] = {}
    made: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, way in (("naive", naive), ("fast", fast)):
            made[name], seconds = way(model, TEXTS[0], 1, count)
            if name not in best or statistics.median(seconds) < statistics.median(best[name]):
                best[name] = seconds
    ratio = statistics.median(best["naive"]) / statistics.median(best["fast"])
    difference = float((made["naive"] - made["fast"]).abs().max() / made["naive"].abs().max())
    return {
        **{name: percentiles(seconds) for name, seconds in best.items()}, "ratio": round(ratio, 2),
        "largest_difference": difference,
    }  # fmt: skip


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--size", choices=list(SIZES), default="demo")
    command.add_argument("--model", metavar="DIR", help="a model folder in place of random weights")
    command.add_argument("--latents", type=int, default=30)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--sessions", type=int, nargs="+", default=[1, 4, 16])
    command.add_argument("--steps", type=int, nargs="+", default=[50, 20, 10], help="denoising steps")
    command.add_argument("--threads", type=int, default=2)
    options = command.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model) if options.model else untrained(options.size, options.steps[0])
    found: dict[str, Any] = {
        "size": options.model or options.size, "threads": options.threads, "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(), "real_time_ms": round(1000 * REAL_TIME, 1),
    }  # fmt: skip
    found["latents"] = compare(model, options.latents, options.rounds)
    found["parts_ms"] = parts(model, options.latents)
    for steps in options.steps:
        model.head.respace(str(steps))
        row = {f"sessions_{n}": together(model, n, options.latents) for n in options.sessions}
        found[f"steps_{steps}"] = row | {"first_frames": first_frames(model, options.latents)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
