"""`python -m prepare.data motionmillion`: the archives of that set as a folder that can be trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED

EPILOG = """\
--source is the folder as it is downloaded: motion_272rpr/<source>/<part>.tar.gz, texts.tar.gz, split.tar.gz, mean_std/.
Archives may be missing: what is there can be used, and what the splits name beyond it is counted. A run that was
stopped goes on when it is started again. Clips that are not handed on (HumanML3D, BABEL, AIST) are built by yourself
and put below OUT/motion_data/vector_272 under the names of the split files.

example:
  python -m prepare.data motionmillion --source downloads/MotionMillion --out datasets/MotionMillion
  python -m prepare.data doctor --source humanml3d --root datasets/MotionMillion --representation motion272 \\
      --splits split/version1/t2m_60_300 --splits-only --leak-free split/version1/leak_free"""


def add_motionmillion(commands) -> None:
    text = "unpack the archives of MotionMillion to the layout that its code reads"
    made = commands.add_parser(
        "motionmillion", help=text, description=text[0].upper() + text[1:] + ".", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.set_defaults(command=unpack)
    made.add_argument("--source", required=True, metavar="FOLDER", help="the downloaded folder")
    made.add_argument("--out", required=True, metavar="DIR", help="dataset folder to write or to go on with")
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")


def unpack(args: argparse.Namespace) -> int:
    """The exit code: 0 fine, 1 some archive or file could not be used."""
    from mld.data.archives import unpack_release

    outcome = unpack_release(Path(args.source), Path(args.out))
    print("\n".join(outcome.lines()))
    return EXIT_SOME_FAILED if outcome.problems else EXIT_OK
