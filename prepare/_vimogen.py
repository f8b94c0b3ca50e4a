"""ViMoGen for `prepare.convert`: import, start weights of Wan2.1, export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from prepare._exports import exported, told

UMT5 = "Wan-AI/Wan2.1-T2V-1.3B"  # has its text encoder


def import_vimogen(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.vimogen.convert import import_vimogen as load
    from mld.models.text_encoders.opening import open_text_encoder

    text = open_text_encoder(args.text_encoder, dtype=args.text_dtype)
    return load(file, stats, text, args.set, args.as_published)


def start_vimogen(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.vimogen.convert import start_from_wan
    from mld.models.text_encoders.opening import open_text_encoder

    text = open_text_encoder(args.text_encoder, dtype=args.text_dtype)
    network, coverage = start_from_wan(file, stats, text, args.set, args.seed)
    coverage.notes.append(f"train from it with init_from={args.out}")
    return network, coverage


def export_vimogen(args: argparse.Namespace) -> int:
    """A model as a folder with model.pt, its description and its statistics."""
    import torch

    from mld.checkpoint import replacing
    from mld.models.families.vimogen.convert import (
        DESCRIPTION,
        MODEL_FILE,
        STATISTICS,
        losses,
        published_state,
        settings_of,
    )  # fmt: skip
    from mld.models.families.vimogen.statistics import DECEMBER, release_of
    from mld.motion.normalizer import Normalizer

    model, out = exported(args.model, "vimogen"), Path(args.out)
    statistics = Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std)
    sizes = model.transformer.config
    described = {"num_heads": sizes.heads, "num_layers": sizes.layers, "dim": sizes.width, "ffn_dim": sizes.ffn,
                 "representation": model.representation, "text_encoder": model.text.source}  # fmt: skip
    with replacing(out) as new:
        torch.save(published_state(model), new / MODEL_FILE)
        (new / STATISTICS).mkdir(parents=True)
        statistics.save(new / STATISTICS)
        (new / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    settings = settings_of(model)
    for lost in losses(model):
        print(f"note: {lost}")
    settings += [f"release={DECEMBER}"] if release_of(statistics) == DECEMBER else []
    command = ["vimogen", str(out), "MODEL", "--text-encoder", model.text.source, "--text-dtype", model.text.dtype]
    return told(f"{out}", [*command, "--set", *settings])
