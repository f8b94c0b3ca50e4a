"""A training step of MotionMillion against the published loop: samples per second, and where the gain is from.

    python -m benchmarks.train_million [--size 44M] [--batch 8] [--steps 3] [--text-layers 24] [--seed 0]

Prints JSON. Clips are drawn as the spec tells of the data: 60 to 200 frames of two per code, captions of some 32 tokens.
`published` is the plain loop in float32: the text encoder (untrained, of the size of Flan-T5-XL's, or fewer layers of it)
runs for each sample by itself, codes are read from a table as there, rows are padded to 301, the head reads all
positions, and what counts is chosen by an ignored index. `ours` is the step of the family as `train` runs it: features
from the cache, rows as long as the longest of the batch, only states that count through the head. `steps` adds one
after the other. Gradients of all ways are compared. Seconds are of this process's processor time, one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import million
from benchmarks.memory import T5_XL, T5_XL_LAYERS
from mld.models.families.motionmillion.config import SIZES
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.families.motionmillion.packing import Rows, pack
from mld.training.optimization import make_optimizer
from mld.training.run_config import OptimizerConfig

FRAMES = (60, 200)  # of clips from the web, which are most (MotionMillion spec 10)
TOKENS = (18, 46)  # of captions: 32 on average


class Batch:
    """Clips of one batch: codes (L,), captions as ids (S,), and their features once they were computed."""

    def __init__(self, size: int, codes: int, vocabulary: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        frames = torch.randint(FRAMES[0], FRAMES[1] + 1, (size,), generator=draw).tolist()
        tokens = torch.randint(TOKENS[0], TOKENS[1] + 1, (size,), generator=draw).tolist()
        self.codes = [torch.randint(codes, (count // 2,), generator=draw) for count in frames]
        self.ids = [torch.randint(2, vocabulary, (count,), generator=draw) for count in tokens]
        self.features: list[Tensor] = []


def encoder(layers: int) -> torch.nn.Module:
    """The encoder of Flan-T5-XL, untrained."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    return T5EncoderModel(T5Config(**T5_XL, num_layers=layers)).eval()


@torch.no_grad()
def one_by_one(network: torch.nn.Module, ids: Sequence[Tensor]) -> list[Tensor]:
    """Features (S, Z) of captions as published: each by itself."""
    return [network(input_ids=row[None]).last_hidden_state[0] for row in ids]


def rows_of(model: MotionMillion, batch: Batch, length: int | None) -> Rows:
    return pack(batch.codes, [len(row) for row in batch.ids], model.vocabulary, model.config.positions, length=length)


def dense(model: MotionMillion, batch: Batch, length: int | None) -> Tensor:
    """The published loss: all positions through the head, padding ignored."""
    rows = rows_of(model, batch, length)
    logits = model.logits(model.states(batch.features, rows.tokens))[:, :-1]
    targets = torch.where(rows.counted, rows.tokens, model.vocabulary.pad_id)[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=model.vocabulary.pad_id)


def ours(model: MotionMillion, batch: Batch) -> Tensor:
    rows = rows_of(model, batch, None)
    return model.step(batch.features, rows.tokens, rows)[0]


def main() -> None:
    options = _parse()
    torch.set_num_threads(1)
    model = million.untrained(options.size).train()
    text = encoder(options.text_layers)
    batches = [Batch(options.batch, model.vocabulary.num_codes, T5_XL["vocab_size"], options.seed + i)
               for i in range(options.steps + 1)]  # fmt: skip
    read, start = 0.0, time.process_time()
    for batch in batches:
        batch.features = one_by_one(text, batch.ids)
    read = (time.process_time() - start) / len(batches)
    del text
    full = model.config.positions
    ways: dict[str, Callable[[Batch], Tensor]] = {
        "padded to 301, dense loss": lambda batch: dense(model, batch, full),
        "padded to the longest, dense loss": lambda batch: dense(model, batch, None),
        "ours": lambda batch: ours(model, batch),
    }
    optimizer = make_optimizer(model, OptimizerConfig("AdamW", {"lr": 1e-9}))
    seconds = dict.fromkeys(ways, float("inf"))
    gradients = {}
    for number, batch in enumerate(batches):  # the ways take turns; the first round warms up
        for name, way in ways.items():
            start = time.process_time()
            loss = way(batch)
            loss.backward()
            if number == 0:
                gradients[name] = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
            optimizer.step()
            optimizer.zero_grad()
            if number:
                seconds[name] = min(seconds[name], time.process_time() - start)
    first, *_, last = ways
    far = max(float((gradients[last][key] - value).norm() / value.norm().clamp_min(1e-12))
              for key, value in gradients[first].items())  # fmt: skip
    published = seconds[first] + read
    report: dict[str, Any] = {
        "benchmark": "train_million", "torch": torch.__version__, "size": options.size, "batch": options.batch,
        "text_encoder": {"layers": options.text_layers, "of": T5_XL_LAYERS, "s_per_batch": round(read, 2)},
        "positions": {"published": full, "ours": [_longest(model, batch) for batch in batches[1:]]},
        "step_s": {"published": round(published, 2), **{name: round(taken, 2) for name, taken in seconds.items()}},
        "samples_per_s": {"published": round(options.batch / published, 3),
                          "ours": round(options.batch / seconds[last], 3)},
        "speedup": round(published / seconds[last], 2), "speedup_without_texts": round(seconds[first] / seconds[last], 2),
        "largest_difference_of_gradients": float(f"{far:.1e}"),
    }  # fmt: skip
    print(json.dumps(report, indent=2))


def _longest(model: MotionMillion, batch: Batch) -> int:
    return rows_of(model, batch, None).tokens.shape[1]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="44M")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="rounds that count, the best of them")
    parser.add_argument("--text-layers", type=int, default=T5_XL_LAYERS, help="of the text encoder (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
