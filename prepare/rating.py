"""`python -m prepare.rating make|collect`: motions of several models for your prompts on a page where people rate them,
and what the raters say together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import tasks
from commands import models
from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

EXAMPLES = """\
The prompts are a UTF-8 file, one a line; what follows a tab is a category. Raters get the folder without sheet.json
(that says which motion is whose) or, with --embed, rating.html alone; they need a browser and no network.

examples:
  python -m prepare.rating make my_prompts.txt --model runs/a/model --model runs/b/model --out out/rating
  python -m prepare.rating collect out/rating rating-anna.json rating-ben.csv --out out/rating/report.json"""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some motions or exports could not be used."""
    args = _parser().parse_args(arguments)
    return args.command(args)


def _make(args: argparse.Namespace) -> int:
    from mld.errors import RequestError

    if args.seed < 0 or args.batch_size < 1 or (args.seconds is not None and not 0.1 <= args.seconds <= 600):
        raise RequestError("--seed is not below 0, --batch-size at least 1, --seconds from 0.1 to 600")
    from mld.evaluation.rating.prompts import read_prompts
    from mld.evaluation.rating.sheet import PAGE, Rated, Sheet, SheetSettings

    _check_video()
    prompts, told = read_prompts(Path(args.prompts))
    for line in told:
        print(line, file=sys.stderr)
    rated = [Rated.of(source) for source in args.model or [models.bundled(tasks.DEFAULT)]]
    rewriter = ""
    if args.rewrite:
        from mld.engine.rewriting import identity

        rewriter = identity(args.rewrite)
    settings = SheetSettings(args.seed, args.seconds, rewriter, args.embed, models.device_of(args), args.batch_size)
    sheet = Sheet(Path(args.out), prompts, rated, settings, args.title)
    if args.rewrite and sheet.rewrites is None:
        _rewrite(args, sheet, prompts)
    failed = sheet.make(lambda line: print(line, file=sys.stderr))
    count = len(prompts) * len(rated)
    print(f"{count - failed} of {count} motions; {sheet.folder / PAGE} shows them, sheet.json is for you alone")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _rewrite(args: argparse.Namespace, sheet, prompts) -> None:
    """Ask the language model, and keep its texts in the sheet, before a motion model is opened."""
    from mld.engine.rewriting import rewrite

    asked = [prompt for prompt in prompts if not prompt.error]
    found = rewrite([prompt.text for prompt in asked], args.rewrite, models.device_of(args), args.seed,
                    lambda one: print(one, file=sys.stderr, flush=True))  # fmt: skip
    sheet.rewritten({prompt.line: one.said for prompt, one in zip(asked, found, strict=True)})


def _check_video() -> None:
    """`MldError` at once where no video could be written."""
    import mld.view  # noqa: F401  (so that motions can be saved as videos)
    from mld.errors import missing_extra

    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise missing_extra("imageio-ffmpeg", "all") from error


def _collect(args: argparse.Namespace) -> int:
    from mld.errors import DataError
    from mld.evaluation.rating.collect import collect, markdown
    from mld.evaluation.rating.exports import read_export
    from mld.evaluation.rating.sheet import read_sheet
    from mld.files import write_json, write_text

    sheet, exports, refused = read_sheet(Path(args.folder)), [], 0
    places = _places(args)
    for name in args.exports:
        try:
            exports.append(read_export(Path(name), sheet))
        except DataError as error:
            refused += 1
            print(f"left out: {error}", file=sys.stderr)
    if not exports:
        raise DataError("none of the files holds ratings of this sheet")
    report = collect(sheet, exports)
    print(markdown(report))
    if places:
        write_json(places[0], report)
        write_text(places[1], markdown(report) + "\n")
        print(f"{places[0]} and .md written")
    return EXIT_SOME_FAILED if refused else EXIT_OK


def _places(args: argparse.Namespace) -> tuple[Path, Path] | None:
    """Where the report goes; `RequestError` where that would overwrite the sheet or a rater's file."""
    from mld.errors import RequestError
    from mld.evaluation.rating.sheet import SHEET

    if not args.out:
        return None
    stem = args.out[: -len(Path(args.out).suffix)] if Path(args.out).suffix in (".json", ".md") else args.out
    if not Path(stem).name or stem.endswith("/"):
        raise RequestError(f"--out {args.out}: name a file, such as report.json")
    places = Path(f"{stem}.json"), Path(f"{stem}.md")
    kept = {Path(name).resolve() for name in (Path(args.folder) / SHEET, *args.exports)}
    for place in places:
        if place.resolve() in kept:
            raise RequestError(f"--out {args.out}: {place} holds what is collected; name another file")
    return places


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.rating", __doc__, EXAMPLES)
    commands = made.add_subparsers(required=True, metavar="make|collect")
    make = commands.add_parser("make", help="motions, videos and the page", description="Make a sheet for raters.",
                               epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    make.set_defaults(command=_make)
    make.add_argument("prompts", metavar="PROMPTS", help="text file with one prompt per line")
    make.add_argument("--model", action="append", metavar="DIR", help="model folder, bundled name or hub id; again for "
                      "each further model (default: the bundled one)")  # fmt: skip
    make.add_argument("--out", default="out/rating", metavar="DIR", help="folder of the sheet (default: out/rating)")
    make.add_argument("--title", default="", help="what stands above the page")
    make.add_argument("--seed", type=int, default=0, help="of motions and of the order of models (default: 0)")
    make.add_argument("--seconds", type=float, metavar="N", help="length of every motion (default: the model decides)")
    make.add_argument("--batch-size", type=int, default=8, metavar="N", help="motions made at once (default: 8)")
    make.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    make.add_argument("--rewrite", metavar="FOLDER", help="let a causal language model, a local folder of the "
                      "transformers layout, rewrite the prompts first; raters see them as they were")  # fmt: skip
    make.add_argument("--embed", action="store_true", help="put the videos into rating.html, one file to hand out")
    collect = commands.add_parser("collect", help="means, intervals and agreement", description="Put raters together.")
    collect.set_defaults(command=_collect)
    collect.add_argument("folder", metavar="FOLDER", help="of the sheet, with sheet.json")
    collect.add_argument("exports", nargs="+", metavar="FILE", help="JSON or CSV that raters saved")
    collect.add_argument("--out", metavar="FILE", help="write the report as .json and .md, too")
    for command in (make, collect):
        command.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
