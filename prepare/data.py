"""`python -m prepare.data doctor|stats|convert|cmu`: examine a dataset, write its statistics, change its layout, or
build one from motion files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

if TYPE_CHECKING:
    from mld.data.config import DataConfig


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 the doctor found errors."""
    args = _parser().parse_args(arguments)
    return args.command(args)


def _doctor(args: argparse.Namespace) -> int:
    from mld.data.doctor import examine

    diagnosis = examine(_config(args))
    print("\n".join(diagnosis.report))
    return EXIT_OK if diagnosis.healthy else EXIT_SOME_FAILED


def _stats(args: argparse.Namespace) -> int:
    from mld.data.sources.opening import build_source
    from mld.data.statistics import measure

    source = build_source(_config(args), args.split)
    folder = Path(args.out or args.root)
    measure(source, args.feature_bias).save(folder)
    print(f"{source.report()}\n{folder / 'mean.npy'} and {folder / 'std.npy'} written")
    return EXIT_OK


def _convert(args: argparse.Namespace) -> int:
    from mld.data.convert import convert

    print("\n".join([*convert(_config(args), Path(args.out)), f"{args.out} written"]))
    return EXIT_OK


def _cmu(args: argparse.Namespace) -> int:
    from mld.data.own_motions import build_folder

    source = Path(args.source)
    out = Path(args.out or f"{source.resolve().name}-joints")
    outcome = build_folder(source, out, args.fps, None if args.captions is None else Path(args.captions))
    check = f"python -m prepare.data doctor --source joints --root {out}"
    print("\n".join([*outcome.lines(), f"{out} written; check it: {check}"]))
    return EXIT_SOME_FAILED if outcome.problems else EXIT_OK


def _config(args: argparse.Namespace) -> DataConfig:
    from mld.data.config import DataConfig

    names = ("source", "root", "representation", "splits", "fps", "min_frames", "max_frames", "quality")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return DataConfig(**given, mirror=getattr(args, "mirror", False))


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.data", __doc__)
    commands = made.add_subparsers(required=True, metavar="doctor|stats|convert|cmu")
    _add(commands, "doctor", _doctor, "report counts, lengths, broken files, leaks between splits; exit 1 on errors")
    stats = _add(commands, "stats", _stats, "write mean.npy and std.npy of a split")
    stats.add_argument("--split", default="train", help="split to measure (default: train)")
    stats.add_argument("--out", help="folder to write to (default: the dataset folder)")
    stats.add_argument(
        "--feature-bias", type=float, default=1.0,
        help="divide the std of root and foot contacts by this (default: 1; published MotionGPT statistics: 25)",
    )  # fmt: skip
    convert = _add(commands, "convert", _convert, "joints + captions to a HumanML3D folder, or back")
    convert.add_argument("--out", required=True, help="new folder to write to")
    _add_cmu(commands)
    for command in (stats, convert):
        command.add_argument("--mirror", action="store_true", help="add mirrored twins to train ('joints' only)")
    return made


def _add_cmu(commands) -> None:
    text = "a training folder from motion files: ASF/AMC, BVH, AMASS-like npz, glTF"
    made = commands.add_parser("cmu", help=text, description=text[0].upper() + text[1:] + ".")
    made.set_defaults(command=_cmu)
    made.add_argument("--source", required=True, metavar="FOLDER", help="where the motion files lie, folders in it too")
    made.add_argument("--out", help="new folder to write to (default: the name of the source with '-joints')")
    made.add_argument("--captions", metavar="FILE", help="lines 'motion name,sentence' (default: .txt files beside)")
    made.add_argument("--fps", type=float, default=20.0, help="frame rate of the folder (default: 20)")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")


def _add(commands, name: str, command, text: str) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.set_defaults(command=command)
    made.add_argument("--source", required=True, choices=("humanml3d", "joints"), help="layout of the folder")
    made.add_argument("--root", required=True, help="dataset folder")
    made.add_argument("--representation", help="humanml3d (default) or kit")
    made.add_argument("--splits", help="folder of the split files inside the dataset folder")
    made.add_argument("--fps", type=float, help="frame rate of the files, if it is not the usual one")
    made.add_argument("--min-frames", type=int, help="shortest clip in frames (default: 40, kit 24, joints 20)")
    made.add_argument("--max-frames", type=int, help="longest clip in frames (default: 199)")
    made.add_argument("--quality", nargs="+", metavar="GRADE", help="grades to keep of 'joints' (default: good fair)")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
