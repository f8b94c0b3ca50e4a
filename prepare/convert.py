"""`python -m prepare.convert FAMILY ...`: published checkpoints as model folders, start points, and the way back.

An import prints what was loaded and what was ignored, refuses a file with missing or unexpected tensors, and ends with
a sample. `python -m prepare.convert FAMILY --help` lists what a family needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, parser, run
from mld.errors import MldError
from prepare._families import IMPORTS, OPTIONS, TOOLS, Import


def main(arguments: Sequence[str]) -> int:
    args = _parser().parse_args(arguments)
    if args.family in TOOLS:
        return TOOLS[args.family].run(args)
    return convert(IMPORTS[args.family], args)


def convert(family: Import, args: argparse.Namespace) -> int:
    """Import, report, sample; then write the model folder unless it is a dry run."""
    from mld.checkpoint import save_model
    from mld.files import file_hash

    file = Path(args.file)
    stats = Path(args.stats) if args.stats else statistics_beside(file, family.statistics)
    network, coverage = family.load(file, stats, args)
    print(coverage.report())
    print(f"{network.kind} '{network.family}' with {sum(p.numel() for p in network.parameters()):,} parameters")
    if family.trained:
        print(f"smoke sample: {smoke_sample(network)}")
    if args.dry_run:
        return EXIT_OK
    beside = (getattr(args, name, None) for name in ("vae", "tae", "fsq", "end_latent"))
    packaged = file.glob("ar.safetensors")  # in a folder beside its tokenizer
    parts = [*packaged, *_files(file), *(part for name in beside if name for part in _files(Path(name)))]
    origin = {
        "parents": [{"file": part.name, "sha256": file_hash(part)} for part in parts],
        "statistics": str(stats.name),
        "licence": "that of the published checkpoint",
    }  # fmt: skip
    print(f"{save_model(network, args.out, origin, args.dtype)} written")
    return EXIT_OK


def statistics_beside(file: Path, place: str) -> Path:
    """The folder of statistics in, or beside, what is imported; `MldError` where there is none."""
    folder = (file if file.is_dir() else file.parent) / place
    if not (folder / "mean.npy").is_file():
        raise MldError(f"{folder}: no mean.npy; name the folder with the statistics of the model's training: --stats")
    return folder


def _files(path: Path) -> list[Path]:
    """What was read: the file, or those of a folder that an import takes."""
    return [path] if path.is_file() else sorted([*path.glob("fsq.safetensors"), *path.rglob("*.pt")])


def smoke_sample(network) -> str:
    """What the network makes of a simple input, in numbers that a reader can judge."""
    import torch

    if network.kind == "evaluator":
        from mld.example import Caption

        still = network.feature_mean.expand(1, 60, -1)
        with torch.no_grad():
            motion = network.embed_motion(still, torch.ones(1, 60, dtype=torch.bool))
            text = network.embed_text([Caption("a person stands still.")])
        return f"standing still is {(motion - text).norm():.3f} from its caption (|text| {text.norm():.3f})"
    if network.kind == "tokenizer":
        from mld.motion.representations.registry import get_representation

        motion = get_representation(network.representation).decode(_decoded(network))
    else:
        from mld.engine.pipeline import Pipeline

        motion = Pipeline(network).generate("a person walks forward.", seconds=2)
    root = motion.joints[:, 0]
    travelled = (root[-1] - root[0])[[0, 2]].norm()
    return f"{motion.num_frames} frames, pelvis at {root[:, 1].mean():.2f} m, {travelled:.2f} m travelled"


def _decoded(tokenizer):
    """Features (T, D) of the first twelve codes, or of the latents of a still mean pose."""
    import torch

    with torch.no_grad():
        if tokenizer.layout.codebook_size:
            codes = torch.arange(12)[None] % tokenizer.layout.codebook_size
            return tokenizer.decode(codes, torch.ones_like(codes, dtype=torch.bool))[0]
        frames = torch.ones(1, 40, dtype=torch.bool)
        latents, mask = tokenizer.encode(tokenizer.feature_mean.expand(1, 40, -1), frames)
        return tokenizer.decode(latents, mask, frames)[0]


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.convert", __doc__)
    families = made.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for name, family in {**IMPORTS, **TOOLS}.items():
        part = families.add_parser(name, help=family.help, description=family.help)
        for argument in family.arguments:
            needless = {"required": False} if argument == "--stats" and getattr(family, "statistics", "") else {}
            part.add_argument(argument, **OPTIONS[argument] | needless)
        part.set_defaults(**family.defaults)
        part.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
