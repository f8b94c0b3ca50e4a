"""What `prepare.convert` can do: a table of imports, a table of other tools, and the options that they share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.common import EXIT_OK
from mld.errors import CheckpointError, MldError
from prepare._exports import export_fsq_ae, export_motiongpt3, export_motionmillion, export_motionstreamer
from prepare._vimogen import UMT5, export_vimogen, import_vimogen, start_vimogen

FLAN = "google/flan-t5-xl"  # the text encoder of MotionMillion

OPTIONS: dict[str, dict[str, Any]] = {
    "file": {"help": "the published .ckpt, .tar, .pth or .safetensors; for tmr and packages their folder"},
    "gpt2": {"metavar": "GPT2", "help": "a plain GPT-2 or a published mot-gpt2: folder or hub id"},
    "model": {"help": "model folder"},
    "out": {"help": "folder to write; for motiongpt3-export a .ckpt"},
    "--stats": {"required": True, "help": "folder with mean.npy and std.npy that the model was trained with"},
    "--tokenizer-only": {"action": "store_true", "help": "leave the language model out"},
    "--text-tokenizer": {"help": "folder or hub id (default: %(default)s)"},
    "--words": {"help": "folder with the published word vectors (our_vab_*)"},
    "--text-encoder": {"default": "distilbert-base-uncased", "help": "folder or hub id (default: %(default)s)"},
    "--vae": {"metavar": "FILE", "help": "take the VAE from this MLD or MotionGPT3 checkpoint, whatever FILE has"},
    "--tae": {"required": True, "metavar": "FILE", "help": "the published file with the causal auto-encoder"},
    "--fsq": {
        "metavar": "FILE", "help": "the published file with the tokenizer, or a model folder (default: in the package)",
    },
    "--end-latent": {
        "metavar": "FILE.npy", "help": "end latent of its training (default: that of the published HumanML3D weights)",
    },
    "--latent-scale": {
        "type": float,
        "help": "factor of the latents (default: 0.8457; weights of August to October 2025: 0.7152; Motion-X: 0.7281)",
    },
    "--attention-mode": {"help": "layers with shared attention: all (default), last6, first, odd, None, ..."},
    "--set": {
        "nargs": "+", "default": [], "metavar": "KEY=VALUE",
        "help": "settings that the file does not tell, such as guidance_scale=7.5, tokenizer.config.norm=GN",
    },
    "--as-published": {
        "action": "store_true", "help": "what the file does not tell is as published, whatever its sizes",
    },
    "--init-motion-branch": {
        "choices": ["random", "copy_text"], "default": "random", "help": "(default: %(default)s, as published)",
    },
    "--seed": {"type": int, "default": 0, "help": "of the new weights (default: %(default)s)"},
    "--dtype": {"choices": ["float32", "float16"], "default": "float32", "help": "of the weights on disk"},
    "--dry-run": {"action": "store_true", "help": "check everything, write nothing"},
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """load(file, stats, args) -> network and coverage. options: names of `OPTIONS` beside those of every import.
    statistics: where they lie in a folder that is handed on, for imports that need no --stats. trained: what is
    imported can make something; of new weights no sample is shown."""

    help: str
    load: Callable[[Path, Path, argparse.Namespace], tuple[Any, Any]]
    options: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    statistics: str = ""
    trained: bool = True

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("file", "out", "--stats", *self.options, "--dtype", "--dry-run")


@dataclass(frozen=True)
class Tool:
    """Anything else: run(args) -> exit code."""

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def import_motiongpt(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.motiongpt.convert import import_motiongpt as load

    return load(file, stats, args.tokenizer_only, args.text_tokenizer, args.set, args.as_published)


def import_motiongpt3(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.motiongpt3.convert import import_motiongpt3 as load

    named = {"tokenizer.config.latent_scale": args.latent_scale, "lm.architecture.attention_mode": args.attention_mode}
    settings = [*args.set, *(f"{key}={value}" for key, value in named.items() if value is not None)]
    return load(file, stats, Path(args.vae) if args.vae else None, args.text_tokenizer, settings, args.as_published)


def import_vae(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.motiongpt3.convert_vae import import_vae as load

    scale = [] if args.latent_scale is None else [f"latent_scale={args.latent_scale}"]
    return load(file, stats, [*args.set, *scale], args.as_published)


def import_fsq_ae(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.tokenizers.convert_fsq import import_fsq_ae as load

    return load(file, stats, args.set, args.as_published)


def import_causal_ae(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.motionstreamer.convert import import_causal_ae as load

    return load(file, stats, args.set)


def import_motionstreamer(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.families.motionstreamer.convert import import_motionstreamer as load

    end = Path(args.end_latent) if args.end_latent else None
    return load(file, stats, Path(args.tae), args.text_encoder, end, args.set)


def import_motionmillion(file: Path, stats: Path, args: argparse.Namespace):
    """A transformer over the tokenizer in `--fsq`, whose own settings begin with `tokenizer.config.`"""
    from mld.checkpoint import load_model
    from mld.models.families.motionmillion.convert import import_motionmillion as load
    from mld.models.text_encoders.opening import open_text_encoder

    start = "tokenizer.config."
    of_tokenizer = [setting for setting in args.set if setting.startswith(start)]
    fsq = Path(args.fsq) if args.fsq else file / "fsq.safetensors"
    if (fsq / "config.yaml").is_file():
        tokenizer, notes = load_model(fsq), [f"the tokenizer is that of the model folder {fsq}"]
    elif not fsq.exists():
        raise MldError(f"{fsq}: no such file; name the published tokenizer, or a model folder with one: --fsq")
    elif "fsq-ae" not in IMPORTS:
        raise MldError(f"{fsq}: not a model folder; name one with a tokenizer: --fsq")
    else:
        told = argparse.Namespace(
            set=[setting.removeprefix(start) for setting in of_tokenizer], as_published=args.as_published
        )
        tokenizer, read = IMPORTS["fsq-ae"].load(fsq, stats, told)
        notes = [f"tokenizer: {len(read.loaded)} tensors loaded", *read.notes]
    if tokenizer.kind != "tokenizer":
        raise MldError(f"{fsq}: holds a {tokenizer.kind}, a tokenizer is needed")
    rest = [setting for setting in args.set if setting not in of_tokenizer]
    encoder = args.text_encoder
    if encoder == FLAN and (file / "text_encoder").is_dir():
        encoder = str(file / "text_encoder")
        notes.append(f"the text encoder is that of the package, {encoder}")
    network, coverage = load(file, tokenizer, open_text_encoder(encoder), rest, args.as_published)
    coverage.notes += notes
    return network, coverage


def import_guo(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.guo.convert import import_guo as load

    if not args.words:
        raise MldError("guo needs --words, the folder with our_vab_data.npy, our_vab_words.pkl and our_vab_idx.pkl")
    return load(file, stats, Path(args.words))


def import_tmr(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.tmr.convert import import_tmr as load

    return load(file, stats, args.text_encoder, args.set, args.as_published)


def import_tmr272(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.tmr.convert import import_tmr272 as load

    return load(file, stats, args.text_encoder, args.set, args.as_published)


def start_motiongpt3(args: argparse.Namespace) -> int:
    """A two-branch start point from a GPT-2: the text branch is that GPT-2, two rows longer."""
    import torch

    from mld.checkpoint import replacing
    from mld.models.backbones.pretrained import pretrained_folder
    from mld.models.backbones.text_tokenizer import load_text_tokenizer
    from mld.models.families.motiongpt3.start_point import load_start_point, write_start_point
    from mld.models.families.motiongpt3.vocabulary import BOUNDARIES, HolderVocabulary

    torch.manual_seed(args.seed)
    folder = pretrained_folder(args.gpt2)
    vocabulary = HolderVocabulary(load_text_tokenizer(folder))
    model = load_start_point(folder, args.init_motion_branch)
    rows, words = model.architecture["vocab_size"], vocabulary.size - BOUNDARIES
    if words > rows:
        raise CheckpointError(f"{folder}: {rows} rows of text, but the text tokenizer has {words} tokens")
    model.resize_text(vocabulary.size)
    model.architecture["text_pad_id"] = vocabulary.eos_id
    with replacing(Path(args.out)) as new:
        write_start_point(new, model, vocabulary.tokenizer)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    motion = sum(count for name, count in sizes.items() if ".fn.1." in name or "processors.1." in name)
    print(f"text branch   {sum(sizes.values()) - motion:,} parameters, {vocabulary.size} rows of text")
    print(f"motion branch {motion:,} parameters, {args.init_motion_branch}")
    print(f"{args.out} written; train from it with model.lm.pretrained={args.out}")
    return EXIT_OK


IMPORTS = {
    "motiongpt": Import(
        "MotionGPT: language model with its VQ-VAE, or a VQ-VAE alone", import_motiongpt,
        ("--tokenizer-only", "--text-tokenizer", "--set", "--as-published"), {"text_tokenizer": "google/flan-t5-base"},
    ),
    "motiongpt3": Import(
        "MotionGPT3: two-branch GPT-2, diffusion head and motion VAE", import_motiongpt3,
        ("--vae", "--text-tokenizer", "--latent-scale", "--attention-mode", "--set", "--as-published"),
        {"text_tokenizer": "openai-community/gpt2"},
    ),
    "vae": Import("the motion VAE of an MLD or MotionGPT3 checkpoint", import_vae,
                  ("--latent-scale", "--set", "--as-published")),
    "motionstreamer": Import(
        "MotionStreamer: transformer and diffusion head over its causal auto-encoder", import_motionstreamer,
        ("--tae", "--text-encoder", "--end-latent", "--set"),
        {"text_encoder": "sentence-transformers/sentence-t5-xxl"},
    ),
    "motionmillion": Import(
        "MotionMillion: transformer over its FSQ tokenizer; a file, or a packaged folder with ar.safetensors",
        import_motionmillion, ("--fsq", "--text-encoder", "--set", "--as-published"),
        {"text_encoder": FLAN},
    ),
    "vimogen": Import(
        "ViMoGen: its model.pt, or a folder with that and assets/meta", import_vimogen,
        ("--text-encoder", "--set", "--as-published"), {"text_encoder": UMT5}, "assets/meta",
    ),
    "vimogen-init": Import(
        "a ViMoGen to train, from Wan2.1's text-to-video transformer", start_vimogen,
        ("--text-encoder", "--set", "--seed"), {"text_encoder": UMT5}, trained=False,
    ),
    "causal-ae": Import("the causal auto-encoder of MotionStreamer", import_causal_ae, ("--set",)),
    "fsq-ae": Import(
        "MotionMillion's tokenizer, a file or a packaged folder with fsq.safetensors", import_fsq_ae,
        ("--set", "--as-published"),
    ),
    "guo": Import("the published text/motion matchers (finest.tar)", import_guo, ("--words",)),
    "tmr": Import("TMR (folder with last_weights)", import_tmr, ("--text-encoder", "--set", "--as-published")),
    "tmr272": Import("evaluators of MotionStreamer and MotionMillion", import_tmr272,
                     ("--text-encoder", "--set", "--as-published")),
}  # fmt: skip
TOOLS = {
    "fsq-ae-export": Tool(
        "MotionMillion's tokenizer, alone or of a model, in the published layout, as a folder", export_fsq_ae,
        ("model", "out"),
    ),
    "motionmillion-export": Tool(
        "a motionmillion model in the published layout, as a folder", export_motionmillion, ("model", "out")
    ),
    "motionstreamer-export": Tool(
        "a motionstreamer model in the published layout, as a folder", export_motionstreamer, ("model", "out")
    ),
    "vimogen-export": Tool("a vimogen model in the published layout, as a folder", export_vimogen, ("model", "out")),
    "motiongpt3-init": Tool(
        "a two-branch start point from a GPT-2", start_motiongpt3, ("gpt2", "out", "--init-motion-branch", "--seed")
    ),
    "motiongpt3-export": Tool(
        "a motiongpt3 model in the published layout", export_motiongpt3, ("model", "out")
    ),
}  # fmt: skip
