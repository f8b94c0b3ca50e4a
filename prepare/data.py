"""`python -m prepare.data doctor|stats|convert|cmu|shards|motionmillion|hmr`: examine a dataset, write its statistics,
change its layout or the representation of motion files, build a dataset from motion files, put a large one into shards,
unpack the archives of a published one, or convert what estimators of motion in videos write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run
from prepare._hmr import add_hmr
from prepare._motionmillion import add_motionmillion

if TYPE_CHECKING:
    from mld.data.config import DataConfig


LAYOUTS = ("humanml3d", "babel_stream", "joints", "files", "json", "shards")
FOLDER_OPTIONS = ("source", "root", "representation", "splits", "min_frames", "max_frames", "quality")
CONVERT_EXAMPLES = """\
examples:
  python -m prepare.data convert AMASS/CMU --to motion272 --out cmu_272
  python -m prepare.data convert walk.bvh dance.npz --to joints --out joints
  python -m prepare.data convert samples --from motion272 --to humanml3d --out samples_263
  python -m prepare.data convert --source joints --root datasets/mine --representation motion272 --out mine_272"""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 the doctor found errors."""
    args = _parser().parse_args(arguments)
    return args.command(args)


def _doctor(args: argparse.Namespace) -> int:
    if args.splits_only or args.leak_free:
        return _doctor_of_names(args)
    from mld.data.doctor import examine

    diagnosis = examine(_config(args))
    print("\n".join(diagnosis.report))
    return EXIT_OK if diagnosis.healthy else EXIT_SOME_FAILED


def _doctor_of_names(args: argparse.Namespace) -> int:
    """Look at the split files alone, and write those without leaks where wanted."""
    from mld.data.clips import dataset_root
    from mld.data.doctor import examine_names
    from mld.data.twins import write_splits
    from mld.errors import RequestError

    if args.source != "humanml3d":
        raise RequestError(f"--splits-only and --leak-free are for --source humanml3d, not {args.source}")
    config = _config(args)
    root = dataset_root(config)
    diagnosis, leaks = examine_names(root / config.splits)
    print("\n".join(diagnosis.report))
    if not args.leak_free:
        return EXIT_OK if diagnosis.healthy else EXIT_SOME_FAILED
    write_splits(leaks, root / args.leak_free)
    print(f"{root / args.leak_free} written: {leaks.remaining}; use it with data.splits={args.leak_free}")
    return EXIT_OK


def _stats(args: argparse.Namespace) -> int:
    from mld.data.sources.opening import build_source
    from mld.data.statistics import measure

    source = build_source(_config(args), args.split)
    root = Path(args.root)
    folder = Path(args.out or (root.parent if root.is_file() else root))
    measure(source, args.feature_bias).save(folder)
    print(f"{source.report()}\n{folder / 'mean.npy'} and {folder / 'std.npy'} written")
    return EXIT_OK


def _convert(args: argparse.Namespace) -> int:
    _check_convert(args)
    if args.files:
        return _convert_files(args)
    from mld.data.convert import convert

    print("\n".join([*convert(_config(args), Path(args.out)), f"{args.out} written"]))
    return EXIT_OK


def _check_convert(args: argparse.Namespace) -> None:
    """`RequestError` when the options are neither those of files nor those of a data set, or of both."""
    from mld.errors import RequestError, nearest
    from mld.motion.representations.registry import representation_names

    if args.files:
        alien = [name for name in FOLDER_OPTIONS if getattr(args, name) is not None]
        if alien:
            raise RequestError(f"--{alien[0].replace('_', '-')} is for data set folders; motion files take --to, "
                               "--from, --fps and --mirror")
        known = (*representation_names(), "joints")
        for name, allowed in (("to", known), ("from", (*known, "camera276"))):
            value = getattr(args, name)
            if value not in allowed and (value is not None or name == "to"):
                raise RequestError(f"--{name} {value or '(missing)'}: {nearest(value or '', allowed)}")
        if args.recovery and getattr(args, "from") not in (None, "motion276"):
            raise RequestError("--recovery is of 276 columns (--from motion276)")
    elif args.to or getattr(args, "from") or args.recovery:
        raise RequestError("--to, --from and --recovery need motion files: name files or folders of them")
    elif not (args.source and args.root):
        raise RequestError("name motion files and --to, or a data set folder with --source and --root")


def _convert_files(args: argparse.Namespace) -> int:
    from mld.data.convert_files import convert_files

    files = [Path(name) for name in args.files]
    found = []
    source = getattr(args, "from")
    for one in convert_files(files, Path(args.out), args.to, source, args.fps, args.mirror, args.recovery):
        print(one.line, file=sys.stderr if one.failed else sys.stdout)
        found.append(one)
    failed = sum(one.failed for one in found)
    print(f"{len(found) - failed} of {len(found)} files converted to {args.to}")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _cmu(args: argparse.Namespace) -> int:
    from mld.data.own_motions import build_folder

    source = Path(args.source)
    out = Path(args.out or f"{source.resolve().name}-joints")
    outcome = build_folder(source, out, args.fps, None if args.captions is None else Path(args.captions))
    check = f"python -m prepare.data doctor --source joints --root {out}"
    print("\n".join([*outcome.lines(), f"{out} written; check it: {check}"]))
    return EXIT_SOME_FAILED if outcome.problems else EXIT_OK


def _shards(args: argparse.Namespace) -> int:
    from mld.data.clips import SPLITS
    from mld.data.shards.raw import RAW, TOGETHER, write_raw
    from mld.data.shards.writing import SHARD_BYTES, write_shards
    from mld.data.sources.opening import build_source
    from mld.errors import DataError, RequestError
    from mld.jobs import check_workers
    from prepare._runs import placed

    if args.source == "shards":
        raise RequestError("--source shards: these are shards already; name the source that they were written from")
    if args.source in RAW and args.shard_mb is not None:
        raise RequestError(f"--shard-mb: of --source {args.source} a shard is of {TOGETHER} files or clips, whatever "
                           "they hold; leave it out")
    size = SHARD_BYTES if args.shard_mb is None else args.shard_mb * 2**20
    if not 2**20 <= size <= 2**30:
        raise RequestError(f"--shard-mb {args.shard_mb}: megabytes of features in a file, from 1 to 1024")
    where = {"workers": check_workers(args.engine, args.workers), "engine": args.engine}
    config, out = placed(_config(args)), Path(args.out).absolute()
    config.check()
    written, absent = [], []
    for split in args.splits_written or SPLITS:
        try:
            if args.source in RAW:
                written.append(write_raw(config, split, out, args.dtype, **where))
            else:
                source = build_source(config, split)
                print(source.report())
                written.append(write_shards(source, split, out, args.dtype, size=size, **where))
        except DataError as error:
            if (out / split).is_dir():  # there is such a split
                raise
            absent.append(f"{split}: {error}")
            continue
        print("\n".join(written[-1].lines()))
    if not written or (absent and args.splits_written):
        raise DataError(absent[0])
    print("\n".join(f"not written: {line}" for line in absent), end="\n" if absent else "")
    named = "" if config.representation == "humanml3d" else f" data.representation={config.representation}"
    print(f"{out} written; use it: data.source=shards data.root={out}{named}")
    return EXIT_SOME_FAILED if any(one.missing for one in written) else EXIT_OK


def _config(args: argparse.Namespace) -> DataConfig:
    from mld.data.config import DataConfig

    names = (*FOLDER_OPTIONS, "fps", "procedural_size", "procedural_seed", "procedural_actions")
    given = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    if args.source == "babel_stream":
        given.setdefault("representation", "motion272")  # the layout is published in no other
    if args.source == "json":
        given = {"representation": "motion276", "max_frames": 200, **given}  # as ViMoGen-228K is published and used
    return DataConfig(**given, mirror=getattr(args, "mirror", False))


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.data", __doc__)
    commands = made.add_subparsers(required=True, metavar="doctor|stats|convert|cmu|shards|motionmillion|hmr")
    doctor = _add(
        commands, "doctor", _doctor, "report counts, lengths, broken files, leaks between splits; exit 1 on errors"
    )  # fmt: skip
    doctor.add_argument("--splits-only", action="store_true", help="look at the names in the split files alone, which "
                        "takes seconds for a million clips")  # fmt: skip
    doctor.add_argument("--leak-free", metavar="FOLDER", help="write split files without mirrored twins in other "
                        "splits, into this new folder inside the dataset folder")  # fmt: skip
    stats = _add(commands, "stats", _stats, "write mean.npy and std.npy of a split")
    stats.add_argument("--split", default="train", help="split to measure (default: train)")
    stats.add_argument("--out", help="folder to write to (default: the dataset folder)")
    stats.add_argument(
        "--feature-bias", type=float, default=1.0,
        help="divide the std of root and foot contacts by this (default: 1; published MotionGPT statistics: 25)",
    )  # fmt: skip
    convert = _add_convert(commands)
    _add_cmu(commands)
    shards = _add_shards(commands)
    add_motionmillion(commands)
    add_hmr(commands)
    for command in (stats, convert, shards):
        command.add_argument("--mirror", action="store_true",
                             help="add mirrored twins: to train of a folder of joints, to all motion files")
    return made


def _add_convert(commands) -> argparse.ArgumentParser:
    text = "motion files to another representation, or a data set folder to the other layout"
    made = commands.add_parser(
        "convert", help=text, description=text[0].upper() + text[1:] + ".", epilog=CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.set_defaults(command=_convert)
    made.add_argument("--out", required=True, help="new folder to write to")
    files = made.add_argument_group("motion files", "BVH, ASF/AMC, AMASS-like npz, glTF, joints, features")
    files.add_argument("files", nargs="*", metavar="FILE_OR_FOLDER", help="files, or folders of them")
    files.add_argument("--to", metavar="NAME", help="motion272, motion276, humanml3d, kit or joints")
    files.add_argument(
        "--from", metavar="NAME",
        help="what .npy files hold, if the number of columns does not tell it: one of these, or camera276 (276 columns "
        "in the axes of a camera, as estimated from a video)",
    )  # fmt: skip
    files.add_argument(
        "--recovery", choices=("velocity", "absolute", "equal_length"),
        help="how 276 columns (.pt, .npy) become a motion: along their steps (default, as published), by the absolute "
        "places of each row, or along the steps with the frame that the last one leads to",
    )  # fmt: skip
    _add_folder_options(made.add_argument_group("data set folder", "joints + captions to HumanML3D, or back"), False)
    made.add_argument("--fps", type=float, help="frame rate of the files, if it is not the usual one")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
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


def _add_shards(commands) -> argparse.ArgumentParser:
    from mld.data.config import SOURCES

    made = _add(commands, "shards", _shards, "put a dataset into a few large files that open at once", SOURCES)
    made.add_argument("--out", required=True, help="folder to write to; given again, the command goes on where it was")
    made.add_argument("--dtype", choices=("float16", "float32"), default="float16",
                      help="of features; the root's columns are float32 in both (default: float16)")
    made.add_argument("--workers", type=int, default=1, metavar="N",
                      help="processes (default: 1; 0: one a processor)")
    made.add_argument("--engine", default="processes", metavar="NAME",
                      help="processes (default), or ray: Ray Data, here or in the cluster of RAY_ADDRESS")
    made.add_argument("--shard-mb", type=int, metavar="MB", help="features in a file (default: 128 MB); of "
                      "'files' and 'joints' a file is of 64 of them")  # fmt: skip
    made.add_argument("--only", dest="splits_written", nargs="+", choices=("train", "val", "test"), metavar="SPLIT",
                      help="splits to write (default: all that are there)")
    made.add_argument("--procedural-size", type=int, metavar="N", help="clips of 'procedural' (default: 512)")
    made.add_argument("--procedural-seed", type=int, metavar="SEED", help="of 'procedural' (default: 0)")
    return made


def _add(commands, name: str, command, text: str, sources: Sequence[str] = LAYOUTS) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.set_defaults(command=command)
    _add_folder_options(made, True, sources)
    made.add_argument("--fps", type=float, help="frame rate of the files, if it is not the usual one")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    return made


def _add_folder_options(made, required: bool, sources: Sequence[str] = ("humanml3d", "babel_stream", "joints")) -> None:
    """Those of `FOLDER_OPTIONS`. sources: layouts; one that needs no folder can be among them."""
    made.add_argument("--source", required=required, choices=sources, help="layout")
    made.add_argument("--root", required=required and "procedural" not in sources, help="dataset folder")
    made.add_argument("--representation", help="humanml3d (default), kit, motion272 (of babel_stream), motion276")
    made.add_argument("--splits", help="folder of the split files inside the dataset folder")
    made.add_argument("--min-frames", type=int, help="shortest clip in frames (default: 40, kit 24, joints 20)")
    made.add_argument("--max-frames", type=int, help="longest clip in frames (default: 199)")
    made.add_argument("--quality", nargs="+", metavar="GRADE", help="grades to keep of 'joints' (default: good fair)")


if __name__ == "__main__":
    sys.exit(run(main))
