"""python -m prepare.view FILES... -o out.html: motions as one page to look at in any browser, or as one picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

if TYPE_CHECKING:
    from mld.view.browser import ViewItem

EPILOG = """\
examples:
  python -m prepare.view demos/motions/walk.npy -o walk.html
  python -m prepare.view truth.bvh generated.npy -o compare.html --together --title "truth and ours"
  python -m prepare.view out/t2m -o all.html
  python -m prepare.view out/t2m -o all.png      # a row of stills per motion

A caption is taken from the text file of the same name beside a motion (`demo` writes such), else from the file's name.
Open the page in any browser; it needs no network. Press ? in it for the keys. A name that ends in .png, .jpg or .webp
makes a contact sheet instead: every motion as a row of stills under its caption."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some files could not be read."""
    options = _parse(arguments)
    from mld.errors import DataError, MldError
    from mld.view.browser import save_viewer, with_downloads

    items, problems = [], 0
    for path in motion_files(options.files):
        try:
            items.append(item_of(path, options.fps))
        except MldError as error:
            problems += 1
            print(f"left out: {error}", file=sys.stderr)
    kinds = [kind.strip().lstrip(".").lower() for kind in options.downloads.split(",") if kind.strip()]
    if not items:
        raise DataError("there is no motion to view")
    captions = options.caption or []
    if len(captions) > len(items):
        raise DataError(f"{len(captions)} captions are given for {len(items)} motions")
    items[: len(captions)] = [_captioned(item, text) for item, text in zip(items, captions)]
    if Path(options.out).suffix.lower() in PICTURES:
        return _sheet(items, Path(options.out), problems)
    title = options.title or (items[0].caption if len(items) == 1 else f"{len(items)} motions")
    items = [with_downloads(item, kinds) for item in items]
    written = save_viewer(items, options.out, title, together=options.together, theme=options.theme)
    print(f"{written}: {len(items)} motions, {written.stat().st_size / 1e6:.1f} MB")
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _sheet(items: Sequence[ViewItem], out: Path, problems: int) -> int:
    from mld.files import atomically
    from mld.view.sheet import contact_sheet

    with atomically(out) as new:
        contact_sheet([(item.motion, item.caption) for item in items]).save(new)
    print(f"{out}: {len(items)} motions, {out.stat().st_size / 1e6:.1f} MB")
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _parse(arguments: Sequence[str]):
    what = "Make a page that plays motions in 3D, in any browser, offline, or one picture of them."
    command = parser("prepare.view", what, EPILOG)
    command.add_argument("files", nargs="+", metavar="FILE", help="motion files, or folders of them")
    command.add_argument("-o", "--out", metavar="OUT.html", required=True,
                         help="the page to write, or a picture (.png, .jpg, .webp)")
    command.add_argument("--title", help="of the page (default: the caption, or how many motions there are)")
    command.add_argument("--caption", action="append", metavar="TEXT", help="of the first motion, the second ...")
    command.add_argument("--fps", type=float, help="frame rate of files that do not say theirs (default: 20)")
    command.add_argument("--together", action="store_true", help="start with all motions on one floor")
    command.add_argument("--theme", choices=("auto", "light", "dark"), default="auto", help="default: the system's")
    command.add_argument("--downloads", default="bvh,glb", metavar="KINDS",
                         help="files that the page offers besides NPY (default: bvh,glb; '' for none)")
    return command.parse_args(arguments)


def motion_files(names: Sequence[str]) -> Iterator[Path]:
    """The files, and of folders the motion files directly in them. `DataError` for a folder without any."""
    from mld.errors import DataError
    from mld.motion.formats import files_in

    for path in map(Path, names):
        if not path.is_dir():
            yield path
            continue
        inside = files_in(path)
        if not inside:
            raise DataError(f"{path}: there is no motion file in this folder")
        yield from inside


def item_of(path: Path, fps: float | None) -> ViewItem:
    """A motion file as an item of a page."""
    from mld.motion.motion import Motion
    from mld.view.browser import ViewItem

    said = path.with_suffix(".txt")
    caption = said.read_text(encoding="utf-8", errors="replace").strip() if said.is_file() else path.stem
    return ViewItem(Motion.load(path, fps), caption)


def _captioned(item: ViewItem, caption: str) -> ViewItem:
    import dataclasses

    return dataclasses.replace(item, caption=caption)


if __name__ == "__main__":
    sys.exit(run(main))
