"""`python -m prepare.data hmr IN... OUT`: parameters of people in videos, as the camera sees them, to 276 columns."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED

EPILOG = """\
examples:
  python -m prepare.data hmr camerahmr/*.pt motions --fps 16 --body-models ~/body_models
  python -m prepare.data hmr walk.npz walk.pt --fps 30

Files are .pt or .npz dictionaries of SMPL-X parameters in the axes of the camera: global_orient (T, 3), body_pose
(T, 63), transl (T, 3), and focal_length, width, height if they are known. What is written are dictionaries of motion
(T-1, 276), z up on the floor, extrinsic (T-1, 9) and intrinsic (3, 3).

Frame rate. Columns are of 20 frames a second, videos of generators often of 16, those of cameras of 25 or 30. Say it by
--fps and rotations and places are resampled. Without it frames stay as they are. The published converter always leaves
them, and the published loader of references takes every file for one of 16; --keep-frames makes files for it."""


def add_hmr(commands) -> None:
    text = "SMPL-X parameters estimated from videos, in the axes of a camera, to 276 columns"
    made = commands.add_parser("hmr", help=text, description=text + ".", epilog=EPILOG,
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    made.set_defaults(command=_hmr)
    made.add_argument("files", nargs="+", metavar="IN", help="files of parameters (.pt, .npz), or folders of them")
    made.add_argument("out", metavar="OUT", help="a .pt or .npy file for one motion, a folder for several")
    made.add_argument("--fps", type=float, metavar="RATE",
                      help="frame rate of the videos: motions are resampled from it to 20 (default: what the file "
                      "says, else frames stay as they are)")  # fmt: skip
    made.add_argument("--keep-frames", action="store_true", help="do not resample, as published")
    made.add_argument("--body-models", metavar="DIR", help="your body models, with smplx/SMPLX_NEUTRAL.npz (default: "
                      "$MLD_BODY_MODELS; without any, bones of a standard body)")  # fmt: skip
    made.add_argument("--format", choices=("pt", "npy"), default="pt",
                      help="of files in a folder: pt as published, or npy with the cameras beside (default: pt)")
    made.add_argument("--no-floor", action="store_true", help="leave the height as it is over the first pelvis")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")


def _hmr(args: argparse.Namespace) -> int:
    from mld.data.camera_files import Rest, convert_hmr
    from mld.motion.formats.options import ReadOptions

    ReadOptions(fps=args.fps)  # refuses what is no frame rate
    rest = Rest.find(None if args.body_models is None else Path(args.body_models).expanduser())
    print(rest.note)
    found = []
    files, out = [Path(name) for name in args.files], Path(args.out)
    for one in convert_hmr(files, out, rest, args.fps, args.keep_frames, not args.no_floor, f".{args.format}"):
        print(one.line, file=sys.stderr if one.failed else sys.stdout)
        found.append(one)
    failed = sum(one.failed for one in found)
    print(f"{len(found) - failed} of {len(found)} files converted")
    return EXIT_SOME_FAILED if failed else EXIT_OK
