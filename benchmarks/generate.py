"""Speed of answers: motions per second of each family, cached against naive decoding, the head fused against plain.

    python -m benchmarks.generate [--motiongpt DIR] [--motiongpt3 DIR | --size bundled|published] [--frames 96]
                                  [--answers 16] [--rounds 3] [--families motiongpt ... vimogen]
                                  [--million 44M ... 7B] [--codes 150 10] [--batches 1 16] [--weights float32 int8]
                                  [--vimogen middle|slice|published] [--steps 10]

Prints JSON. Without a folder, `motiongpt` is the bundled model and `motiongpt3` one of the same size class with random
weights (speed does not depend on them). `naive` runs the whole network anew for every token, `plain` for every
denoising step; both give the same answers as the fast way. The ways of a comparison take turns, and the best of the
rounds counts. Seconds are of one core's processor time, so that other programs on the machine do not count.

`motionmillion` is a published size with random weights, behind features of a text of 32 tokens; what is measured is the
loop over codes. Its `naive` is the published loop: for every code the whole row is read anew, and all of its states go
through the head (once, as it takes minutes; published code makes one answer at a time, here those of a batch go on
together).
--codes: so many for each of --batches. With --weights each choice is timed, and compared with float32 behind the codes
that float32 chose.

`vimogen` is whole samples of its transformer with random weights, in so many --steps, of one row and of four of several
lengths: by texts of 104 features (226 rows with the zeros behind them), by references, and mixed. `faithful` is the
published loop, which computes everything anew in each step, with and without the condition; `exact` gives the same.
--vimogen slice has the published width, and 2 of its 30 layers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks import million, vimogen
from mld import packaged
from mld.checkpoint import load_model
from mld.data.sources.procedural import ProceduralSource
from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.engine.sampling.autoregressive import sample
from mld.example import Clip, Text
from mld.models.backbones.layers import Recompute
from mld.models.contracts.generator import MotionGenerator
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.decoding import TwoBranchRecompute
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.families.motionmillion.config import SIZES as MILLION
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.heads.diffusion_sampling import FusedSampler, PlainSampler
from mld.models.quantization import WEIGHTS, round_weights
from mld.models.tokenizers.vae import MotionVAE, MotionVAEConfig

BUNDLED = packaged.ASSETS / "motiongpt"
SIZES: dict[str, dict[str, Any]] = {
    "bundled": {
        "vae": {"latent_channels": 192, "tokens_per_clip": 2, "ff_size": 384, "num_layers": 5, "patch": 4},
        "lm": {"n_embd": 256, "n_layer": 6, "n_head": 4, "n_positions": 256},
        "head": {"width": 256},
    },
    "published": {"vae": {}, "lm": {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}, "head": {}},
}  # fmt: skip
BATCHES = (1, 16)
FAMILIES = ("motiongpt", "motiongpt3", "motionmillion", "vimogen")


def untrained(size: str, captions: Sequence[str]) -> MotionGPT3:
    """A MotionGPT3 with random weights."""
    torch.manual_seed(0)
    sizes = SIZES[size]
    config = MotionGPT3Config(
        lm=TwoBranchConfig(architecture=sizes["lm"], text_vocabulary=2000), head=DiffusionHeadConfig(**sizes["head"])
    )
    return MotionGPT3.create(config, {"tokenizer": MotionVAE(MotionVAEConfig(**sizes["vae"]))}, captions).eval()


def fastest(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Processor seconds of the best round of each way, and what it made. The ways take turns."""
    seconds, made = dict.fromkeys(ways, float("inf")), {}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            made[name] = way()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds, made


def batches(pipeline: Pipeline, requests: Sequence[Request], rounds: int) -> dict[str, float]:
    """Answers per second at each batch size."""
    ways = {f"batch_{size}": lambda size=size: pipeline.run(requests, batch_size=size) for size in BATCHES}
    seconds, _ = fastest(ways, rounds)
    return {name: round(len(requests) / taken, 3) for name, taken in seconds.items()}


def decoding(pipeline: Pipeline, requests: Sequence[Request], size: int, rounds: int) -> dict[str, Any]:
    """Answers token by token, with a cache and without."""

    def cached() -> list[Answer]:
        return pipeline.run(requests, batch_size=size)

    def naive() -> list[Answer]:
        with uncached(pipeline.model):
            return pipeline.run(requests, batch_size=size)

    seconds, made = fastest({"cached": cached, "naive": naive}, rounds)
    same = sum(_same(a, b) for a, b in zip(made["cached"], made["naive"]))
    return _ratio(seconds, "naive", "cached") | {"same_answers": f"{same} of {len(requests)}"}


@contextmanager
def uncached(model: MotionGenerator) -> Iterator[None]:
    """While it lasts, the model begins its answers without a cache."""
    if isinstance(model, MotionGPT3):
        model.steps = lambda prompts: TwoBranchRecompute(model, prompts)
    else:
        model.steps = lambda prompts: Recompute(model.lm, prompts)
    try:
        yield
    finally:
        del model.steps


def head(model: MotionGPT3, size: int, rounds: int) -> dict[str, Any]:
    """All denoising steps of `size` clips, modulations computed at once and step by step."""
    diffusion = model.diffloss
    condition = torch.randn(size, *diffusion.condition_shape, generator=torch.Generator().manual_seed(0))
    guidance = diffusion.guidance(condition, model.config.guidance_scale, model.fake_latent)
    noise = diffusion.draw_noise(range(size))

    def run(sampler: type) -> Tensor:
        *_, last = sampler(diffusion.net, diffusion.short_chain).run(guidance, noise)
        return last.state

    seconds, made = fastest({"fused": lambda: run(FusedSampler), "plain": lambda: run(PlainSampler)}, rounds)
    difference = (made["fused"] - made["plain"]).abs().max() / made["plain"].abs().max()
    return _ratio(seconds, "plain", "fused") | {"largest_difference": float(f"{difference:.1e}")}


def _ratio(seconds: dict[str, float], slow: str, fast: str) -> dict[str, float]:
    times = {f"{name}_s": round(taken, 3) for name, taken in seconds.items()}
    return times | {"speedup": round(seconds[slow] / seconds[fast], 2)}


def _same(a: Answer, b: Answer) -> bool:
    return a.text == b.text and (a.tokens is None or torch.equal(a.tokens, b.tokens))


def measure(model: MotionGenerator, count: int, frames: int, rounds: int) -> dict[str, Any]:
    """Everything about one model: speeds, and the ratios that its family has."""
    pipeline = Pipeline(model)
    source = ProceduralSource(count, 0, split="test")
    clips = [source[index % len(source)] for index in range(count)]
    motions = [Request((Text(clip.captions[0]),), "motion", frames, seed) for seed, clip in enumerate(clips)]
    captions = [Request((Clip(features=clip.features[:frames]),), "text", seed=seed) for seed, clip in enumerate(clips)]
    pipeline.run([motions[0], captions[0]])
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "motions_per_s": batches(pipeline, motions, rounds),
        "captions_per_s": batches(pipeline, captions, rounds),
    }
    written = {"motions": motions, "captions": captions} if not model.at_once() else {"captions": captions}
    found["decoding"] = {
        f"{what}_batch_{size}": decoding(pipeline, requests[:size], size, rounds)
        for what, requests in written.items() for size in BATCHES
    }  # fmt: skip
    if isinstance(model, MotionGPT3):
        found["head"] = {f"batch_{size}": head(model, size, rounds) for size in BATCHES}
        found["head"]["steps"] = model.diffloss.steps
    return found


def codes(make: Callable[[], MotionMillion], sizes: Sequence[tuple[int, int]], rounds: int, weights: Sequence[str]
          ) -> dict[str, Any]:  # fmt: skip
    """The loop over codes of a MotionMillion. sizes: answers together, and codes of each."""
    model = make()
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters()), "text_tokens": million.TEXT}
    first: Tensor | None = None
    for batch, count in sizes:
        entry, made = _loop(model, batch, count, rounds)
        slow, twin = fastest({"naive": lambda batch=batch, count=count: _write(model, batch, count, False)}, 1)
        same = sum(torch.equal(a, b) for a, b in zip(made, twin["naive"], strict=True))
        ratio = _ratio({"naive": slow["naive"], "cached": entry["cached_s"]}, "naive", "cached")
        found[f"batch_{batch}"] = entry | ratio | {"same_answers": f"{same} of {batch}"}
        first = made[0] if first is None else first
    exact = million.logits_of(model, first)
    for choice in weights:
        model = make()
        told = round_weights(model, choice)
        found[choice] = {"what": str(told or "as they are"), **_nearness(million.logits_of(model, first), exact)}
        for batch, count in sizes:
            found[choice][f"batch_{batch}"] = _loop(model, batch, count, rounds)[0]
    return found


def _loop(model: MotionMillion, batch: int, count: int, rounds: int) -> tuple[dict[str, Any], list[Tensor]]:
    seconds, made = fastest({"cached": lambda: _write(model, batch, count, True)}, rounds)
    taken = seconds["cached"]
    per_code = round(1000 * taken / count, 2)
    return {"codes": count, "cached_s": taken, "cached_ms_per_code": per_code,
            "answers_per_s": round(batch / taken, 3)}, made["cached"]  # fmt: skip


def _write(model: MotionMillion, batch: int, count: int, cached: bool) -> list[Tensor]:
    return [row.tokens for row in sample(million.decoding(model, batch, count, cached), range(batch))]


def _nearness(made: Tensor, exact: Tensor) -> dict[str, Any]:
    """Of logits (L, V): relative error, and how often the likeliest code is the same."""
    same = int((made.argmax(-1) == exact.argmax(-1)).sum())
    return {"logit_error": float(f"{(made - exact).norm() / exact.norm():.1e}"),
            "likeliest_code_same": f"{same} of {len(exact)}"}  # fmt: skip


def frames_at_once(size: str, frames: int, steps: int, rounds: int) -> dict[str, Any]:
    """Samples of a ViMoGen of a size of `benchmarks.vimogen`: alone, and four of up to so many frames."""
    dit = vimogen.untrained(size)
    found: dict[str, Any] = {"size": size, "parameters": sum(p.numel() for p in dit.parameters()), "steps": steps}
    batches = {"row_1": [frames], "rows_4": [frames * share // 8 for share in (8, 8, 7, 6)]}
    for branch in vimogen.BRANCHES:
        for name, lengths in batches.items():
            if branch == "mixed" and len(lengths) == 1:
                continue
            seconds, made = fastest(vimogen.ways(dit, branch, lengths, steps), rounds)
            difference = (made["exact"] - made["faithful"]).abs().max() / made["faithful"].abs().max()
            found[f"{branch}_{name}"] = {
                **_ratio(seconds, "faithful", "exact"), "largest_difference": float(f"{difference:.1e}")
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motiongpt", help="model folder (default: the bundled model)")
    parser.add_argument("--motiongpt3", help="model folder (default: random weights)")
    parser.add_argument("--size", choices=list(SIZES), default="bundled", help="of the random one")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--million", choices=list(MILLION), default="44M", help="size of motionmillion")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help="of motionmillion")
    parser.add_argument("--codes", nargs="+", type=int, default=[150, 10], help="of motionmillion, for each batch")
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=[], help="of motionmillion")
    parser.add_argument("--vimogen", choices=list(vimogen.SIZES), default="middle", help="size of vimogen")
    parser.add_argument("--steps", type=int, default=10, help="of vimogen (published: 50)")
    arguments = parser.parse_args()
    if len(arguments.codes) != len(arguments.batches):
        parser.error("--codes and --batches are of one length")
    torch.set_num_threads(1)
    corpus = [caption for clip in ProceduralSource(200, 0, split="train") for caption in clip.captions]
    models = {
        "motiongpt": lambda: load_model(arguments.motiongpt or BUNDLED).eval(),
        "motiongpt3": lambda: load_model(arguments.motiongpt3).eval() if arguments.motiongpt3
        else untrained(arguments.size, corpus),
    }  # fmt: skip
    found = {name: measure(make(), arguments.answers, arguments.frames, arguments.rounds)
             for name, make in models.items() if name in arguments.families}  # fmt: skip
    if FAMILIES[2] in arguments.families:
        sizes = list(zip(arguments.batches, arguments.codes))
        found[FAMILIES[2]] = {"size": arguments.million, **codes(
            lambda: million.untrained(arguments.million), sizes, arguments.rounds, arguments.weights)}  # fmt: skip
    if FAMILIES[3] in arguments.families:
        found[FAMILIES[3]] = frames_at_once(arguments.vimogen, arguments.frames, arguments.steps, arguments.rounds)
    print(json.dumps({
        "benchmark": "generate", "torch": torch.__version__, "frames": arguments.frames, "answers": arguments.answers,
        "models": {"motiongpt": arguments.motiongpt or "bundled",
                   "motiongpt3": arguments.motiongpt3 or f"{arguments.size} size, untrained"}, **found,
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
