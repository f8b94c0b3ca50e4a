"""python -m prepare.retrieve "TEXT" --motions FOLDER: the motions of a folder that fit a text, or another motion."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

if TYPE_CHECKING:
    from mld.engine.search.index import Hit
    from mld.engine.search.similarity import Similarity

EPILOG = """\
examples:
  python -m prepare.retrieve "a person kicks" --motions demos/motions --k 3
  python -m prepare.retrieve --motion demos/motions/walk.npy --motions demos/motions --out hits.png

The score is cosine / 2 + 1/2 (0 to 1); evaluators made for distances give a distance instead. Of motions longer than
9.8 s the best stretch is named. Embeddings are kept in the cache folder, so a second search is fast."""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some files could not be read."""
    options = _parse(arguments)
    from mld.engine.search.index import MotionIndex, motion_files
    from mld.engine.search.similarity import Similarity

    files = motion_files(Path(options.motions))
    similarity = Similarity.load(options.evaluator or bundled_evaluator())
    query = _query(options, similarity)
    cache = None if options.no_cache else Path(options.cache) if options.cache else cache_folder()
    index = MotionIndex(similarity, files, cache, options.fps, progress=sys.stderr.isatty())
    hits = index.search(query, options.k)
    asked = f'"{options.text}"' if options.text is not None else options.motion
    print(f"{asked} among {len(index):,} motions\n{table(hits, Path(options.motions), similarity.evaluator.metric)}")
    for path, reason in index.problems:
        print(f"left out: {reason if str(path) in reason else f'{path}: {reason}'}", file=sys.stderr)
    if options.out:
        _sheet(hits, Path(options.out), options.fps, similarity.evaluator.metric)
        print(f"{options.out} shows them")
    return EXIT_SOME_FAILED if index.problems else EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("prepare.retrieve", "Search a folder of motions by text or by motion.", EPILOG)
    command.add_argument("text", nargs="?", metavar="TEXT", help="what is looked for")
    command.add_argument("--motion", metavar="FILE", help="look for what resembles this motion instead")
    command.add_argument("--motions", metavar="FOLDER", required=True, help="where to search, folders in it included")
    command.add_argument("--k", type=int, default=5, help="how many to show (default: 5)")
    command.add_argument("--evaluator", metavar="DIR", help="model folder of an evaluator (default: the bundled one)")
    command.add_argument("--fps", type=float, help="frame rate of files that do not say theirs (default: 20)")
    command.add_argument("--out", metavar="FILE.png", help="also draw the hits")
    command.add_argument("--cache", metavar="DIR", help="where embeddings are kept (default: the user's cache folder)")
    command.add_argument("--no-cache", action="store_true", help="keep nothing")
    options = command.parse_intermixed_args(arguments)
    if (options.text is None) == (options.motion is None):
        command.error('say what to look for: a text such as "a person kicks", or --motion FILE')
    if options.k < 1:
        command.error(f"--k {options.k}: has to be at least 1")
    return options


def _query(options, similarity: Similarity):
    if options.text is not None:
        return similarity.embed_texts([options.text])
    from mld.motion.motion import Motion

    return similarity.embed(Motion.load(options.motion, options.fps)).embeddings


def bundled_evaluator() -> Path:
    """The TMR that comes with the package. `CheckpointError` if it is not there."""
    import mld
    from mld.errors import CheckpointError

    folder = Path(mld.__file__).parent / "assets" / "evaluators" / "tmr"
    if not folder.is_dir():
        raise CheckpointError(f"the bundled evaluator is missing ({folder}); name one with --evaluator")
    return folder


def cache_folder() -> Path:
    """`mld/motions` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mld" / "motions"


def table(hits: Sequence[Hit], folder: Path, metric: str) -> str:
    """One line per hit: rank, score, seconds, file."""
    head = f"{'rank':>4}  {'score' if metric == 'cosine' else 'distance':>8}  {'seconds':>12}  motion"
    rows = [
        f"{rank:>4}  {abs(hit.similarity):8.3f}  {f'{hit.start:.1f} - {hit.stop:.1f}':>12}  "
        f"{hit.path.relative_to(folder)}"
        for rank, hit in enumerate(hits, start=1)
    ]
    return "\n".join([head, *rows])


def _sheet(hits: Sequence[Hit], out: Path, fps: float | None, metric: str) -> None:
    from mld.motion.motion import Motion
    from mld.view.figure import contact_sheet

    motions = [Motion.load(hit.path, fps) for hit in hits]
    stretches = [m.crop(round(h.start * m.fps), max(round(h.stop * m.fps), 1)) for m, h in zip(motions, hits)]
    out.parent.mkdir(parents=True, exist_ok=True)
    word = "score" if metric == "cosine" else "distance"
    contact_sheet(stretches, out, [f"{hit.path.name}: {word} {abs(hit.similarity):.3f}" for hit in hits])


if __name__ == "__main__":
    sys.exit(run(main))
