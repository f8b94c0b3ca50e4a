"""`python -m prepare.convert FAMILY FILE OUT --stats FOLDER`: a published checkpoint as a model folder.

Families: motiongpt, and the evaluators guo (finest.tar), tmr (folder with last_weights) and tmr272 (MotionStreamer's).

Prints what was loaded and what was ignored, refuses a file with missing or unexpected tensors, and ends with a sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from doors.common import EXIT_OK, parser, run
from mld.errors import MldError


def main(arguments: Sequence[str]) -> int:
    args = _parser().parse_args(arguments)
    from mld.checkpoint import file_hash, save_model

    file, stats = Path(args.file), Path(args.stats)
    network, coverage = IMPORTERS[args.family](file, stats, args)
    print(coverage.report())
    print(f"{network.kind} '{network.family}' with {sum(p.numel() for p in network.parameters()):,} parameters")
    print(f"smoke sample: {smoke_sample(network)}")
    if args.dry_run:
        return EXIT_OK
    origin = {
        "parents": [{"file": part.name, "sha256": file_hash(part)} for part in _files(file)],
        "statistics": str(stats.name),
        "licence": "that of the published checkpoint",
    }  # fmt: skip
    print(f"{save_model(network, args.out, origin, args.dtype)} written")
    return EXIT_OK


def import_motiongpt(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.importing import import_motiongpt as load

    return load(file, stats, args.tokenizer_only, args.text_tokenizer)


def import_guo(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.importing import import_guo as load

    if not args.words:
        raise MldError("guo needs --words, the folder with our_vab_data.npy, our_vab_words.pkl and our_vab_idx.pkl")
    return load(file, stats, Path(args.words))


def import_tmr(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.importing import import_tmr as load

    return load(file, stats, args.text_encoder)


def import_tmr272(file: Path, stats: Path, args: argparse.Namespace):
    from mld.models.evaluators.importing import import_tmr272 as load

    return load(file, stats, args.text_encoder)


IMPORTERS = {"motiongpt": import_motiongpt, "guo": import_guo, "tmr": import_tmr, "tmr272": import_tmr272}


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.pt"))


def smoke_sample(network) -> str:
    """What the network makes of a simple input, in numbers that a reader can judge."""
    import torch

    if network.kind == "evaluator":
        from mld.data.example import Caption

        still = network.feature_mean.expand(1, 60, -1)
        with torch.no_grad():
            motion = network.embed_motion(still, torch.ones(1, 60, dtype=torch.bool))
            text = network.embed_text([Caption("a person stands still.")])
        return f"standing still is {(motion - text).norm():.3f} from its caption (|text| {text.norm():.3f})"
    from mld.motion.representations import get_representation

    if network.kind == "tokenizer":
        codes = torch.arange(12)[None] % network.codebook_size
        with torch.no_grad():
            features = network.decode(codes, torch.ones_like(codes, dtype=torch.bool))[0]
        motion = get_representation(network.representation).decode(features)
    else:
        from mld.engine.pipeline import Pipeline

        motion = Pipeline(network).generate("a person walks forward.", seconds=2)
    root = motion.joints[:, 0]
    travelled = (root[-1] - root[0])[[0, 2]].norm()
    return f"{motion.num_frames} frames, pelvis at {root[:, 1].mean():.2f} m, {travelled:.2f} m travelled"


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.convert", __doc__)
    made.add_argument("family", choices=list(IMPORTERS))
    made.add_argument("file", help="the published .ckpt, .tar, .pth or .safetensors; for tmr its folder")
    made.add_argument("out", help="model folder to write")
    made.add_argument("--stats", required=True, help="folder with mean.npy and std.npy that the model was trained with")
    made.add_argument("--tokenizer-only", action="store_true", help="leave the language model out")
    made.add_argument(
        "--text-tokenizer", default="google/flan-t5-base", help="folder or hub id (default: %(default)s)"
    )
    made.add_argument("--words", help="guo: folder with the published word vectors (our_vab_*)")
    made.add_argument(
        "--text-encoder", default="distilbert-base-uncased", help="tmr, tmr272: folder or hub id (default: %(default)s)"
    )
    made.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the weights on disk")
    made.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    return made


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
