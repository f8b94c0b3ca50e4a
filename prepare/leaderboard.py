"""`python -m prepare.leaderboard RESULTS...`: results of several models in common tables, where that is fair."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run
from mld.errors import DataError
from mld.files import write_text

EPILOG = """\
Results with different protocols, data or evaluators go into tables of their own; so do the modes and suites of MBench.

examples:
  python -m prepare.leaderboard out/test/*
  python -m prepare.leaderboard a/results.json b/results.json --out board.tex
  python -m prepare.leaderboard out/test/* --with-published humanml3d m2t
  python -m prepare.leaderboard out/test/*-mbench-motion-* --with-published mbench"""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some results could not be read."""
    args = _parser().parse_args(arguments)
    from mld.evaluation.leaderboard import merge, published, unique_names

    folders, contents, problems = _read_all([Path(path) for path in args.results])
    for problem in problems:
        print(problem, file=sys.stderr)
    if not contents:
        raise DataError("none of the given paths holds results; python -m test makes them")
    tables = merge(dict(zip(unique_names(folders, contents), contents)))
    if args.with_published is not None:
        tasks = {task for content in contents for task in content["tasks"]}
        tables += published(args.with_published, sorted(tasks))
    if not tables:
        raise DataError("the results hold no value of any task")
    text = "\n\n".join(table.latex() if args.out.endswith(".tex") else table.markdown() for table in tables) + "\n"
    if args.out:
        write_text(args.out, text)
        print(f"{args.out} written: {len(tables)} tables of {len(contents)} results")
    else:
        print(text, end="")
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _read_all(paths: Sequence[Path]) -> tuple[list[Path], list[dict[str, Any]], list[str]]:
    """Folders and contents of the results that can be read, and a line for each that cannot."""
    from mld.evaluation.results_file import read_results

    folders, contents, problems = [], [], []
    for path in paths:
        file = path / "results.json" if path.is_dir() else path
        try:
            contents.append(read_results(file))
        except DataError as error:
            problems.append(f"left out: {error}")
            continue
        folders.append(file.parent)
    return folders, contents, problems


def _parser():
    made = parser("python -m prepare.leaderboard", __doc__, EPILOG)
    made.add_argument("results", nargs="+", help="folders with results.json, or such files")
    made.add_argument("--with-published", nargs="*", metavar="TABLE", help="add published tables: humanml3d, kit, "
                      "humanml3d-272, m2t, pred, recon, mbench, retrieval-humanml3d, retrieval-kit (default: those "
                      "of the tasks in the results)")  # fmt: skip
    made.add_argument("--out", default="", help=".md or .tex file (default: Markdown on the screen)")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
