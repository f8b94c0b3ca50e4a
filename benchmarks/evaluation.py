"""Speed of the real row: cached, batched embeddings against the same work one clip at a time and without caches.

    python -m benchmarks.evaluation [--clips 1000] [--reps 20] [--naive-reps 1] [--evaluator DIR | --size small]

Prints JSON. `cold` starts with an empty cache, `warm` finds the embeddings of an earlier run on disk, `naive` embeds
every motion and caption of every replication by itself (measured over --naive-reps replications, seconds scaled to
--reps), `metrics` is the time for the numbers alone. Clips are procedural; all ways give the same numbers. Seconds are
of one core's processor time, so that other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mld.checkpoint import load_model
from mld.data.sources.procedural import ProceduralSource
from mld.evaluation import rows
from mld.evaluation.clips import ClipSet, usable
from mld.evaluation.draws import Item, Replication
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluators import Evaluator
from mld.evaluation.protocol import Protocol
from mld.metrics.results import Score
from mld.models.contracts.evaluator import MotionEvaluator
from mld.models.evaluators.guo.model import GuoConfig, GuoEvaluator
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

SIZES = {
    "published": {},
    "small": {"movement_hidden": 128, "movement_latent": 128, "motion_hidden": 128, "text_hidden": 128,
              "embedding_dim": 128, "word_dim": 64},
}  # fmt: skip


Row = list[dict[str, Score]]


class Naive(Embedder):
    """The same embeddings without batches and caches."""

    def reference(self, items: Sequence[Item], key: str) -> Tensor:
        return torch.cat([self._embed([item.clip.features.float()]) for item in items])

    def texts(self, captions) -> Tensor:
        return torch.cat([self._embed_texts([caption]) for caption in captions])


def untrained(clips: ClipSet, size: str) -> MotionEvaluator:
    """A Guo evaluator with random weights; speed does not depend on them."""
    torch.manual_seed(0)
    representation = get_representation("humanml3d")
    statistics = Normalizer.fit((clip.features.numpy() for _, clip in clips.clips), representation)
    return GuoEvaluator.create(GuoConfig(tagger="rules", **SIZES[size]), statistics, clips.captions()).eval()


def row(embedder: Embedder, clips: ClipSet, protocol: Protocol, replications: int) -> tuple[float, Row]:
    """Processor seconds and scores of the real row, by replication."""
    start = time.process_time()
    seeds = map(protocol.replication_seed, range(replications))
    scores = [rows.real_row(embedder, Replication(clips, protocol, seed)) for seed in seeds]
    return time.process_time() - start, scores


def metric_seconds(embedder: Embedder, clips: ClipSet, protocol: Protocol, replications: int) -> float:
    """Seconds for the numbers alone, with all embeddings in memory."""
    row(embedder, clips, protocol, replications)
    return row(embedder, clips, protocol, replications)[0]


def measure(
    evaluator: MotionEvaluator, clips: ClipSet, protocol: Protocol, replications: int, naive_replications: int
) -> dict[str, float]:
    """Seconds of each way, the ratios, and the largest relative difference of the numbers."""
    named = Evaluator("e", evaluator)
    with tempfile.TemporaryDirectory() as cache:
        cold, found = row(Embedder(named, clips, cache=Path(cache)), clips, protocol, replications)
        stored = Embedder(named, clips, cache=Path(cache))
        warm, again = row(stored, clips, protocol, replications)
        metrics = metric_seconds(stored, clips, protocol, replications)
    part, plain = row(Naive(named, clips), clips, protocol, naive_replications)
    naive = part * replications / naive_replications
    return {
        "cold_s": round(cold, 2), "warm_s": round(warm, 2), "metrics_s": round(metrics, 2), "naive_s": round(naive, 2),
        "naive_measured_s": round(part, 2), "speedup_cold": round(naive / cold, 1),
        "speedup_warm": round(naive / warm, 1),
        "largest_difference": max(difference(found, plain), difference(found, again)),
    }  # fmt: skip


def difference(first: Row, second: Row) -> float:
    """Largest difference of a number, relative to its size or to 1."""
    pairs = [(a[name].value, b[name].value) for a, b in zip(first, second) for name in a if a[name].value is not None]
    return max(abs(x - y) / max(1.0, abs(x)) for x, y in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--reps", type=int, default=20)
    parser.add_argument("--naive-reps", type=int, default=1)
    parser.add_argument("--evaluator", help="evaluator folder (default: an untrained Guo evaluator)")
    parser.add_argument("--size", choices=list(SIZES), default="published", help="of the untrained one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    protocol = Protocol(min_frames=20)
    source = ProceduralSource(arguments.clips, 0, split="test")
    clips = usable((source[index] for index in range(len(source))), protocol.min_frames)
    evaluator = load_model(arguments.evaluator) if arguments.evaluator else untrained(clips, arguments.size)
    found = measure(evaluator, clips, protocol, arguments.reps, arguments.naive_reps)
    print(json.dumps({
        "benchmark": "evaluation", "evaluator": arguments.evaluator or f"guo, {arguments.size} size, untrained",
        "parameters": sum(p.numel() for p in evaluator.parameters()), "clips": len(clips), "torch": torch.__version__,
        "replications": arguments.reps, "naive_replications": arguments.naive_reps, **found,
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
