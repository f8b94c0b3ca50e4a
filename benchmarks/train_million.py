"""A training step of MotionMillion against the published loop: samples per second, and where the gain is from.

    python -m benchmarks.train_step --family motionmillion --published 44M [--batch 8] [--steps 3] [--text-layers 24]

Clips are drawn as the spec tells of the data: 60 to 200 frames of two per code, captions of some 32
tokens. `published` is the plain loop in float32: the text encoder (untrained, of the size of Flan-T5-XL's, or fewer
layers of it) runs for each sample by itself, codes are read from a table as there, rows are padded to 301, the head
reads all positions, and what counts is chosen by an ignored index. `ours` is the step of the family as `train` runs it:
features from the cache, clips of similar length in a batch as the sampler puts them, rows as long as the longest of
them, only states that count through the head. What lies between is timed as well, and `ours` with a fused AdamW
(`training.optimizer.params.fused=true`). Gradients are compared. Seconds are of this process's processor time, one
thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import million
from benchmarks.memory import T5_XL, T5_XL_LAYERS
from mld.data.order import POOL_BATCHES
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.families.motionmillion.packing import Rows, pack
from mld.training.optimization import make_optimizer
from mld.training.run_config import OptimizerConfig

FRAMES = (60, 200)  # of clips from the web, which are most (MotionMillion spec 10)
OURS, FUSED = "ours", "ours, fused AdamW"
TOKENS = (18, 46)  # of captions: 32 on average


class Batch:
    """Clips of one batch: codes (L,), captions as ids (S,), and their features once they were computed."""

    def __init__(self, size: int, codes: int, vocabulary: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        pool = torch.randint(FRAMES[0], FRAMES[1] + 1, (POOL_BATCHES, size), generator=draw)
        place = int(torch.randint(POOL_BATCHES, (), generator=draw))
        frames = pool.flatten().sort().values.view(POOL_BATCHES, size)[place].tolist()
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


def measure(size: str, batch_size: int, steps: int, text_layers: int, seed: int) -> dict[str, Any]:
    """Both loops, in turns. steps: rounds that count, the best of them. text_layers: of the text encoder."""
    torch.set_num_threads(1)
    model = million.untrained(size).train()
    text = encoder(text_layers)
    batches = [Batch(batch_size, model.vocabulary.num_codes, T5_XL["vocab_size"], seed + i) for i in range(steps + 1)]
    read, start = 0.0, time.process_time()
    for batch in batches:
        batch.features = one_by_one(text, batch.ids)
    read = (time.process_time() - start) / len(batches)
    del text
    full = model.config.positions
    ways: dict[str, Callable[[Batch], Tensor]] = {
        "padded to 301, dense loss": lambda batch: dense(model, batch, full),
        "padded to the longest, dense loss": lambda batch: dense(model, batch, None),
        OURS: lambda batch: ours(model, batch),
        FUSED: lambda batch: ours(model, batch),
    }
    usual = {"lr": 1e-9, "weight_decay": 1e-6, "eps": 1e-6}  # of which the rate keeps the network as it is
    optimizers = {name: make_optimizer(model, OptimizerConfig("AdamW", {**usual, "fused": name == FUSED}))
                  for name in (OURS, FUSED)}  # fmt: skip
    seconds = dict.fromkeys(ways, float("inf"))
    gradients = {}
    for number, batch in enumerate(batches):  # the ways take turns; the first round warms up
        for name, way in ways.items():
            start = time.process_time()
            loss = way(batch)
            loss.backward()
            if number == 0:
                gradients[name] = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
            optimizer = optimizers[FUSED if name == FUSED else OURS]
            optimizer.step()
            optimizer.zero_grad()
            if number:
                seconds[name] = min(seconds[name], time.process_time() - start)
    first = next(iter(ways))
    far = max(float((gradients[OURS][key] - value).norm() / value.norm().clamp_min(1e-12))
              for key, value in gradients[first].items())  # fmt: skip
    published = seconds[first] + read
    return {
        "benchmark": "train_million", "torch": torch.__version__, "size": size, "batch": batch_size,
        "text_encoder": {"layers": text_layers, "of": T5_XL_LAYERS, "s_per_batch": round(read, 2)},
        "positions": {"published": full, "ours": [_longest(model, batch) for batch in batches[1:]]},
        "step_s": {"published": round(published, 2), **{name: round(taken, 2) for name, taken in seconds.items()}},
        "samples_per_s": {"published": round(batch_size / published, 3),
                          **{name: round(batch_size / seconds[name], 3) for name in (OURS, FUSED)}},
        "speedup": round(published / seconds[OURS], 2), "speedup_fused": round(published / seconds[FUSED], 2),
        "speedup_without_texts": round(seconds[first] / seconds[OURS], 2),
        "largest_difference_of_gradients": float(f"{far:.1e}"),
    }  # fmt: skip


def _longest(model: MotionMillion, batch: Batch) -> int:
    return rows_of(model, batch, None).tokens.shape[1]
