"""`python -m prepare.convert motiongpt FILE OUT --stats FOLDER`: a published checkpoint as a model folder.

Prints what was loaded and what was ignored, refuses a file with missing or unexpected tensors, and ends with a sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from doors.common import EXIT_OK, parser, run


def main(arguments: Sequence[str]) -> int:
    args = _parser().parse_args(arguments)
    from mld.checkpoint import file_hash, save_model
    from mld.models.importing import FAMILIES

    file, stats = Path(args.file), Path(args.stats)
    network, coverage = FAMILIES[args.family](file, stats, args.tokenizer_only, args.text_tokenizer)
    print(coverage.report())
    print(f"{network.kind} '{network.family}' with {sum(p.numel() for p in network.parameters()):,} parameters")
    print(f"smoke sample: {smoke_sample(network)}")
    if args.dry_run:
        return EXIT_OK
    origin = {
        "parents": [{"file": file.name, "sha256": file_hash(file)}], "statistics": str(stats.name),
        "licence": "that of the published checkpoint",
    }  # fmt: skip
    print(f"{save_model(network, args.out, origin, args.dtype)} written")
    return EXIT_OK


def smoke_sample(network) -> str:
    """Decode a few codes, or generate from a text; says how the motion looks in numbers a reader can judge."""
    import torch

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
    made.add_argument("family", choices=["motiongpt"])
    made.add_argument("file", help="the published .ckpt, .tar, .pth or .safetensors")
    made.add_argument("out", help="model folder to write")
    made.add_argument("--stats", required=True, help="folder with mean.npy and std.npy that the model was trained with")
    made.add_argument("--tokenizer-only", action="store_true", help="leave the language model out")
    made.add_argument(
        "--text-tokenizer", default="google/flan-t5-base", help="folder or hub id (default: %(default)s)"
    )
    made.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the weights on disk")
    made.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    return made


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
