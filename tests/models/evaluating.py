"""Tiny evaluators, statistics and pairs that the evaluator tests share."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mld.example import Caption, EvaluatorBatch
from mld.models.evaluators.guo.model import GuoConfig, GuoEvaluator
from mld.models.evaluators.tmr.model import TMR, TMRConfig
from mld.models.evaluators.tmr.tmr272 import TMR272, TMR272Config
from mld.motion.normalizer import Normalizer

WIDTHS = {"humanml3d": 263, "kit": 251}
TEXTS = (
    "a person walks forward.", "a man jumps up twice.", "someone kicks with the left leg.", "a woman sits down slowly.",
    "the figure waves with both hands.", "a person runs in a circle.",
)  # fmt: skip
CAPTIONS = tuple(Caption(text) for text in TEXTS)
GUO_SIZES = {
    "movement_hidden": 24, "movement_latent": 20, "motion_hidden": 16, "text_hidden": 12, "embedding_dim": 14,
    "word_dim": 10, "tagger": "rules",
}  # fmt: skip
TMR_SIZES = {"latent_dim": 16, "ff_size": 24, "num_layers": 2, "num_heads": 4}


def statistics(width: int, kind: str = "fitted") -> Normalizer:
    draw = torch.Generator().manual_seed(1)
    std = torch.rand(width, generator=draw) * 0.2 + 0.05
    if kind == "guo_eval":
        std[0] = 5e-4
    return Normalizer(torch.randn(width, generator=draw) * 0.1, std, kind)


def tiny_guo(representation: str = "humanml3d", seed: int = 0, **config) -> GuoEvaluator:
    torch.manual_seed(seed)
    made = GuoConfig(**{"representation": representation, **GUO_SIZES, **config})
    return GuoEvaluator.create(made, statistics(WIDTHS[representation]), CAPTIONS).eval()


def write_text_encoder(folder: Path, seed: int = 0) -> str:
    """A tiny random DistilBERT with a WordPiece tokenizer of the captions' words, in the layout of the hub."""
    from transformers import AutoConfig, AutoModel, set_seed

    words = sorted({word.strip(".") for text in TEXTS for word in text.split()})
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    set_seed(seed)
    config = AutoConfig.for_model(
        "distilbert", vocab_size=len(vocabulary), dim=16, n_layers=2, n_heads=2, hidden_dim=24,
        max_position_embeddings=32,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(str(folder))
    return str(folder)


def tiny_tmr(text_encoder: str, seed: int = 0, **config) -> TMR:
    torch.manual_seed(seed)
    made = TMRConfig(text_encoder=text_encoder, **{**TMR_SIZES, "similar_above": 0.999, **config})
    return TMR.create(made, statistics(263, "tmr")).eval()


def tiny_tmr272(text_encoder: str, seed: int = 0, **config) -> TMR272:
    torch.manual_seed(seed)
    made = TMR272Config(text_encoder=text_encoder, sentence_encoder="", **{**TMR_SIZES, **config})
    return TMR272.create(made, statistics(272, "data")).eval()


def motions(width: int, lengths=(40, 24, 61, 12, 33, 20), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded raw features (B, T, width), each row a different kind of wave, and their mask."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    time = torch.arange(max(lengths))[None, :, None] / 10
    speed = torch.rand(len(lengths), 1, width, generator=draw) * 3
    waves = torch.sin(time * speed + torch.randn(len(lengths), 1, width, generator=draw)) * 0.2
    return waves * mask[..., None], mask


def pairs(width: int, seed: int = 0) -> EvaluatorBatch:
    features, mask = motions(width, seed=seed)
    return EvaluatorBatch(features, mask, CAPTIONS)


def overfit(network, batch: EvaluatorBatch, steps: int = 60, lr: float = 2e-3) -> list[float]:
    """Weighted total loss of each step of training on one batch."""
    torch.manual_seed(0)
    network.train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=lr)
    totals = []
    for _ in range(steps):
        terms = network.loss(batch)
        total = sum(network.loss_weights[name] * value for name, value in terms.items() if "/" not in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    network.eval()
    return totals
