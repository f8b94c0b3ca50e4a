"""The way back of `prepare.convert`: models of this toolkit in the layouts that were published."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.common import EXIT_OK
from mld.errors import MldError
from mld.files import atomically

FSQ_FILE = "fsq_net_last.pth"  # an exported tokenizer of MotionMillion


def export_motiongpt3(args: argparse.Namespace) -> int:
    """A model in the published layout and, beside it, what that has no place for: statistics and text tokenizer."""
    from mld.checkpoint import replacing
    from mld.models.families.motiongpt3.export import losses, published_state, settings_of
    from mld.motion.normalizer import Normalizer
    from mld.training.state_file import write_state

    model, out = exported(args.model, "motiongpt3"), Path(args.out)
    if out.suffix not in (".ckpt", ".pth"):
        raise MldError(f"{out}: name a .ckpt file to write")
    state, rest = published_state(model), out.with_suffix(".assets")
    with replacing(rest) as new:
        Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(new)
        model.save_assets(new)
    with atomically(out) as new:
        write_state({"state_dict": state, "epoch": 0, "global_step": 0}, new)
    for lost in losses(model):
        print(f"note: {lost}")
    command = ["motiongpt3", str(out), "MODEL", "--stats", str(rest)]
    command += ["--text-tokenizer", str(rest), "--as-published"]
    if settings := settings_of(model):
        command += ["--set", *settings]
    return told(f"{out} and {rest}", command)


def export_motionstreamer(args: argparse.Namespace) -> int:
    """A model in the published layout: two checkpoints, statistics and the end latent."""
    import numpy as np
    import torch

    from mld.checkpoint import replacing
    from mld.models.families.motionstreamer.convert import published_states
    from mld.motion.normalizer import Normalizer

    model, out = exported(args.model, "motionstreamer"), Path(args.out)
    tae, trans = published_states(model)
    with replacing(out) as new:
        torch.save({"net": tae}, new / "tae.pth")
        torch.save({"trans": trans}, new / "latest.pth")
        np.save(new / "reference_end_latent.npy", model.end_latent.numpy()[None])
        Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(new)
    command = ["motionstreamer", str(out / "latest.pth"), "MODEL"]
    command += ["--tae", str(out / "tae.pth"), "--stats", str(out), "--text-encoder", model.text.source]
    command += ["--end-latent", str(out / "reference_end_latent.npy")]
    return told(f"{out}", command)


def export_fsq_ae(args: argparse.Namespace) -> int:
    """MotionMillion's tokenizer, alone or of a model, in the published layout."""
    from mld.checkpoint import load_model, replacing

    model, out = load_model(args.model), Path(args.out)
    tokenizer = model if model.kind == "tokenizer" else getattr(model, "tokenizer", model)
    if tokenizer.family != "fsq_ae":
        raise MldError(f"{args.model} is a {model.kind} '{model.family}', not an fsq_ae tokenizer nor a model with one")
    with replacing(out) as new:
        settings = _write_fsq_ae(tokenizer, new)
    command = ["fsq-ae", str(out / FSQ_FILE), "MODEL", "--stats", str(out)]
    return told(f"{out}", [*command, "--set", *settings])


def _write_fsq_ae(tokenizer: Any, folder: Path) -> list[str]:
    """The tokenizer's checkpoint and statistics in the folder; settings that an import of it needs."""
    import torch

    from mld.models.tokenizers.convert_fsq import published_state, settings_of
    from mld.motion.normalizer import Normalizer

    torch.save({"net": published_state(tokenizer), "nb_iter": 0}, folder / FSQ_FILE)
    Normalizer(tokenizer.feature_mean, tokenizer.feature_std).save(folder)
    return settings_of(tokenizer)


def export_motionmillion(args: argparse.Namespace) -> int:
    """A model in the published layout: two checkpoints and the statistics. A tokenizer of another kind than the
    published stays a model folder."""
    import torch

    from mld.checkpoint import replacing, save_model
    from mld.models.families.motionmillion.convert import published_state
    from mld.motion.normalizer import Normalizer

    model, out = exported(args.model, "motionmillion"), Path(args.out)
    with replacing(out) as new:
        torch.save({"trans": published_state(model), "nb_iter": 0}, new / "net_last.pth")
        if model.tokenizer.family == "fsq_ae":
            fsq, of_tokenizer = FSQ_FILE, _write_fsq_ae(model.tokenizer, new)
        else:
            fsq, of_tokenizer = save_model(model.tokenizer, new / "tokenizer").name, []
            Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(new)
    blocks = model.config.llama()
    command = ["motionmillion", str(out / "net_last.pth"), "MODEL"]
    command += ["--fsq", str(out / fsq), "--stats", str(out), "--text-encoder", model.text.source]
    command += ["--set", f"heads={blocks.heads}", f"positions={blocks.positions}"]
    command += [f"longest_text={model.config.longest_text}"]
    command += [f"motion_generation.max_length={model.config.motion_generation.max_length}"]
    command += [f"tokenizer.config.{setting}" for setting in of_tokenizer]
    return told(f"{out}", command)


def exported(folder: str, family: str) -> Any:
    """The generator in a folder; `MldError` where it is of another family."""
    from mld.checkpoint import load_model

    model = load_model(folder)
    if model.family != family:
        raise MldError(f"{folder} is a {model.kind} '{model.family}', not a {family} model")
    return model


def told(out: str, importing: Sequence[str]) -> int:
    """Say what was written and which arguments of `prepare.convert` read it again."""
    print(f"{out} written; import with\n{shlex.join(['python', '-m', 'prepare.convert', *importing])}")
    return EXIT_OK
