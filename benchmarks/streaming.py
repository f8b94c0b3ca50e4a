"""Speed of streams: milliseconds per latent, split by part, against a naive loop, and how many run in real time.

    python -m benchmarks.streaming [--size demo|published] [--latents 30] [--rounds 3] [--history 0 76] [--hop 1]
                                   [--weights float32 int8] [--sessions 1 16 64] [--steps 50 20 10] [--threads 1]
                                   [--model DIR] [--clock wall|cpu] [--out FILE]

Prints JSON. Weights are random unless a model folder is named (speed does not depend on them).

`naive` makes a latent as published: the whole prefix again through the network, once with the words and once without
(spec 7.1); a call of the head per step, which embeds time and condition and computes its modulations anew, rows with
and without words in one batch, as there (spec 5.2). It is kinder than published code in one thing, as its texts are
encoded once and not per latent, and does after each latent what that does at the end: it decodes all that there is, as
whoever shows a stream has to. `ratio_undecoded` leaves decoding out on both sides.

All ways take turns in one run and follow the same history, so that errors do not add up: `error` is the root mean
square of the differences of latents from the exact ones, over that of those. history: latents that there are at the
beginning; of a full window (76) `hop` of the oldest go at once. real_time: 4 frames at 30 fps last 133 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

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
from mld.models.quantization import WEIGHTS, round_weights
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from mld.motion.representations.registry import get_representation

REAL_TIME = 4 / 30
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
HEAD = {"pooling": False, "noise_schedule": "cosine", "diffusion_steps": 50}
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"architecture": LlamaConfig(4, 4, 256), "head": {"width": 320, "depth": 3}, "tae": {"width": 160}},
    "published": {"architecture": LlamaConfig(), "head": {"width": 1792, "depth": 9}, "tae": {}},
}  # fmt: skip
TEXTS = ("a person walks forward", "someone waves with the right hand", "a man sits down", "she turns left")


def untrained(size: str) -> MotionStreamer:
    """A model with random weights."""
    torch.manual_seed(0)
    sizes = SIZES[size]
    head = DiffusionHeadConfig(**HEAD, **sizes["head"], num_inference_steps="50")
    config = MotionStreamerConfig(architecture=sizes["architecture"], head=head)
    parts = {"tokenizer": CausalAE(CausalAEConfig(**sizes["tae"])), "text": open_text_encoder("minilm")}
    return MotionStreamer.create(config, parts, []).eval()


def prompt(model: MotionStreamer, text: str) -> Prompt:
    features = model.text.encode([text])[0].sentence
    return Prompt(features, torch.zeros(0, len(model.end_latent)))


class Clock:
    """Seconds. kind: one of CLOCKS, for the whole run."""

    kind = "wall"

    def __call__(self) -> float:
        return CLOCKS[self.kind]()


clock = Clock()


class Timed(NamedTuple):
    """latents (n, C) and the seconds of each: to draw it, and to decode it."""

    latents: Tensor
    drawing: list[float]
    decoding: list[float]

    @property
    def seconds(self) -> list[float]:
        return [sum(both) for both in zip(self.drawing, self.decoding)]


@torch.no_grad()
def naive(model: MotionStreamer, given: Tensor, count: int, follow: Tensor | None = None) -> Timed:
    """The published way after latents (L, C). follow: latents that go into the history in place of those made."""
    told, null, steps = prompt(model, TEXTS[0]), model.null_text(), model.head.steps
    sampler = PlainSampler(model.head.net, model.head.short_chain)
    history, made, drawing, decoding = given, [], [], []
    for number in range(count):
        start = clock()
        seen = history[-model.config.window :][None]
        conditions = [model.conditions(text[None], seen)[:, -1] for text in (told.text, null)]
        noise = RowNoise([1]).normal(number, (steps + 1, 1, history.shape[1]))
        guidance = model.head.guidance(conditions[0][:, None], model.config.guidance_scale, conditions[1][:, None])
        *_, last = sampler.run(guidance, noise, model.config.temperature)
        made.append(last.state[:, 0])
        drawn = clock()
        history = torch.cat((history, made[-1] if follow is None else follow[number][None]))
        model.tokenizer.decode(history[None], torch.ones(1, len(history), dtype=torch.bool))
        drawing.append(drawn - start)
        decoding.append(clock() - drawn)
    return Timed(torch.cat(made), drawing, decoding)


def fast(model: MotionStreamer, given: Tensor, count: int, follow: Tensor | None = None) -> Timed:
    """The same by `LatentRows` and the decoder in pieces."""
    rows, decoder = LatentRows(model, 1), model.tokenizer.stream()
    rows.begin(0, Prompt(prompt(model, TEXTS[0]).text, given))
    if len(given):
        decoder.push(given[None])
    made, drawing, decoding = [], [], []
    for number in range(count):
        start = clock()
        latent, _ = rows.draw([0], RowNoise([1]), [number])
        drawn = clock()
        rows.append([0], latent if follow is None else follow[number][None])
        decoder.push(latent[:, None])
        made.append(latent)
        drawing.append(drawn - start)
        decoding.append(clock() - drawn)
    return Timed(torch.cat(made), drawing, decoding)


def parts(model: MotionStreamer, count: int) -> dict[str, float]:
    """Milliseconds of the parts of a latent, medians: text, transformer, head, decoder, place in the world."""
    from mld.engine.streaming.session import Recovery

    rows, decoder = LatentRows(model, 1), model.tokenizer.stream()
    recovery = Recovery(get_representation(model.representation))
    found: dict[str, list[float]] = {name: [] for name in ("text", "transformer", "head", "decoder", "recovery")}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = clock()
        made = work()
        found[name].append(clock() - start)
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
        start = clock()
        batcher.step()
        seconds.append(clock() - start)
    return {**percentiles(seconds), "real_time": percentile(seconds, 95) <= REAL_TIME}


def first_frames(model: MotionStreamer, count: int) -> dict[str, float]:
    """Milliseconds from words that were never said before to the first frames, text encoding included."""
    batcher, seconds = Batcher(model, get_representation(model.representation)), []
    for number in range(count):
        start = clock()
        session = batcher.open(f"{TEXTS[number % 4]} {time.time_ns()}", seed=number)
        batcher.step([session])
        seconds.append(clock() - start)
        batcher.close(session)
    return percentiles(seconds)


def percentile(seconds: Sequence[float], share: int) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(share / 100 * (len(seconds) - 1)))]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}_ms": round(1000 * percentile(seconds, share), 2) for share in (50, 95)}


def compare(models: dict[str, MotionStreamer], history: int, count: int, rounds: int) -> dict[str, Any]:
    """The naive loop, and the fast one with each kind of weights, by turns: percentiles of the best round, how often as
    fast as the naive one, and the error."""
    exact = models["float32"]
    given = torch.randn(history, len(exact.end_latent), generator=torch.Generator().manual_seed(0))
    follow = fast(exact, given, count).latents
    best: dict[str, Timed] = {}
    for _ in range(rounds):
        ways = {"naive": lambda: naive(exact, given, count, follow)}
        ways |= {name: lambda m=model: fast(m, given, count, follow) for name, model in models.items()}
        for name, way in ways.items():
            found = way()
            if name not in best or statistics.median(found.seconds) < statistics.median(best[name].seconds):
                best[name] = found
    base = best["naive"]
    return {name: {**percentiles(found.seconds),
                   "drawing_ms": round(1000 * statistics.median(found.drawing), 2),
                   "decoding_ms": round(1000 * statistics.median(found.decoding), 2),
                   "ratio": round(statistics.median(base.seconds) / statistics.median(found.seconds), 2),
                   "ratio_undecoded": round(statistics.median(base.drawing) / statistics.median(found.drawing), 2),
                   "error": float(f"{(found.latents - follow).norm() / follow.norm():.2g}")}
            for name, found in best.items()}  # fmt: skip


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--size", choices=list(SIZES), default="demo")
    command.add_argument("--model", metavar="DIR", help="a model folder in place of random weights")
    command.add_argument("--latents", type=int, default=30)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--history", type=int, nargs="+", default=[0, 76])
    command.add_argument("--hop", type=int, default=1)
    command.add_argument("--weights", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    command.add_argument("--sessions", type=int, nargs="*", default=[1, 16, 64])
    command.add_argument("--steps", type=int, nargs="*", default=[50, 20, 10], help="denoising steps")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--out", metavar="FILE", type=Path, help="write the JSON there as well")
    command.add_argument("--clock", choices=list(CLOCKS), default=Clock.kind, help="cpu: seconds of this process "
                         "alone, where others keep the machine busy; with one thread")  # fmt: skip
    options = command.parse_args()
    Clock.kind = options.clock
    torch.set_num_threads(options.threads)
    models, found = {}, {
        "size": options.model or options.size, "threads": options.threads, "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(), "real_time_ms": round(1000 * REAL_TIME, 1),
        "hop": options.hop, "clock": options.clock, "weights": {},
    }  # fmt: skip
    for weights in dict.fromkeys(("float32", *options.weights)):
        model = load_model(options.model) if options.model else untrained(options.size)
        model.adopt(replace(model.config, hop=options.hop))
        found["weights"][weights] = str(round_weights(model, weights) or "float32 weights: as they are")
        models[weights] = model
    steps = str(models["float32"].head.steps)
    for history in options.history:
        found[f"after_{history}"] = compare(models, history, options.latents, options.rounds)
    for weights, model in models.items():
        row = {"parts_ms": parts(model, options.latents)}
        for number in options.steps:
            model.head.respace(str(number))
            sessions = {f"sessions_{n}": together(model, n, options.latents) for n in options.sessions}
            row[f"steps_{number}"] = sessions | {"first_frames": first_frames(model, options.latents)}
        model.head.respace(steps)
        found[f"served_{weights}"] = row
    text = json.dumps(found, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
