"""`python -m prepare.clean FILES... -o DIR`: feet that stay where they stand, floor, smoothing, with numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

if TYPE_CHECKING:
    from mld.motion.cleanup.cleanup import CleanUpReport
    from mld.motion.motion import Motion

EPILOG = """\
examples:
  python -m prepare.clean walk.npy -o cleaned                         smoothing, floor and feet
  python -m prepare.clean out/t2m -o cleaned --lock-feet --sheet before_after.png
  python -m prepare.clean dance.bvh -o cleaned --smooth 8 --floor --format bvh,glb
  python -m prepare.clean walk.bvh -o cleaned --published 5            the procedure published with MotionMillion

For each file: sliding of feet in contact, jerk and depth below the floor, before and after."""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some files could not be cleaned."""
    options = _parse(arguments)
    from mld.errors import MldError
    from mld.motion.motion import Motion
    from prepare.view import motion_files

    files = list(motion_files(options.files))
    targets = _targets(files, Path(options.out), options.format)
    shown: list[tuple[Motion, str]] = []
    failed = 0
    for path, written in zip(files, targets):
        try:
            motion = Motion.load(path, options.fps)
            cleaned, report = _clean(motion, options)
            for target in written:
                cleaned.save(target)
        except MldError as error:
            failed += 1
            print(f"left out: {error}", file=sys.stderr)
            continue
        print("\n  ".join([f"{path} -> {', '.join(map(str, written))}", *report.lines()]))
        shown += [(motion, f"{path.name}, before"), (cleaned, f"{path.name}, after")]
    if options.sheet and shown:
        from mld.view.figure import contact_sheet

        contact_sheet([motion for motion, _ in shown], options.sheet, [title for _, title in shown])
        print(f"{options.sheet} shows them")
    print(f"{len(files) - failed} of {len(files)} files cleaned")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _clean(motion: Motion, options: argparse.Namespace) -> tuple[Motion, CleanUpReport]:
    from mld.motion.cleanup import cleanup

    if options.published is None:
        return cleanup.clean(motion, _steps(options), cleanup.CUTOFF if options.smooth is None else options.smooth)
    from mld.motion.cleanup.remove_sliding import PublishedSettings, remove_sliding

    return cleanup.compare(motion, remove_sliding(motion, PublishedSettings(window=options.published)), ("published",))


def _steps(options: argparse.Namespace) -> tuple[str, ...]:
    """The steps that were asked for; all of them when none was."""
    from mld.motion.cleanup.cleanup import STEPS

    asked = {"smooth": options.smooth is not None, "floor": options.floor, "feet": options.lock_feet}
    return tuple(step for step in STEPS if asked[step]) or STEPS


def _targets(files: Sequence[Path], out: Path, formats: str) -> list[list[Path]]:
    """What is written for each file. `RequestError` for an unknown format, for two files of one name, and where a file
    would be replaced by its own clean-up."""
    from mld.errors import RequestError
    from mld.motion.formats import suffixes

    kinds = [f".{name.strip().lstrip('.').lower()}" for name in formats.split(",") if name.strip()]
    wrong = [kind for kind in kinds if kind not in suffixes()]
    if wrong or not kinds:
        known = ", ".join(suffix.lstrip(".") for suffix in suffixes())
        raise RequestError(f"--format {formats}: {', '.join(wrong) or 'nothing'} cannot be written; known: {known}")
    targets = [[out / f"{path.stem}{kind}" for kind in kinds] for path in files]
    sources: dict[Path, Path] = {}
    for path, written in zip(files, targets):
        other = sources.setdefault(written[0], path)
        if other != path:
            raise RequestError(f"{other} and {path} would both be written to {written[0]}; clean them into two folders")
        if path.resolve() in [target.resolve() for target in written]:
            raise RequestError(f"{path} would be replaced; name another folder than {out}")
    return targets


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = parser("prepare.clean", "Clean motions up: feet, floor, smoothing. Without a step named: all.", EPILOG)
    command.add_argument("files", nargs="+", metavar="FILE", help="motion files, or folders of them")
    command.add_argument("-o", "--out", metavar="DIR", required=True, help="folder to write to")
    command.add_argument("--lock-feet", action="store_true", help="hold heels and toes in place while they stand")
    command.add_argument("--floor", action="store_true", help="put the floor at y = 0")
    command.add_argument("--smooth", type=float, nargs="?", const=6.0, metavar="HZ",
                         help="take out what is faster than HZ (default: 6)")
    command.add_argument("--published", type=int, nargs="?", const=5, metavar="FRAMES",
                         help="instead: the foot-sliding removal published with MotionMillion (window: 5 frames)")
    command.add_argument("--format", default="npy", help="files per motion: npy,bvh,glb ... (default: npy)")
    command.add_argument("--fps", type=float, help="frame rate of files that do not say theirs (default: 20)")
    command.add_argument("--sheet", metavar="FILE.png", help="also draw all motions, before and after")
    options = command.parse_args(arguments)
    if options.published is not None and (options.lock_feet or options.floor or options.smooth is not None):
        command.error("--published is a procedure of its own; it goes without --lock-feet, --floor and --smooth")
    return options


if __name__ == "__main__":
    sys.exit(run(main))
