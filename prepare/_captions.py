"""`python -m prepare.data captions`: the sentences that training gets of a data set, to be looked at."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK

if TYPE_CHECKING:
    from mld.data.clips import ClipSource
    from mld.data.config import DataConfig


def add_captions(
    add: Callable[..., argparse.ArgumentParser], config: Callable[[argparse.Namespace], DataConfig], sources: list[str]
) -> argparse.ArgumentParser:
    """The parser of the command; `config` reads the options that all commands have."""
    text = "write the sentences that training gets: of measured facts, of composed clips, of mirrored twins"
    made = add("captions", lambda args: _captions(args, config(args)), text, sources)
    made.add_argument("--fact-captions", type=float, default=1.0, metavar="SHARE",
                      help="of sentences that tell measured facts (default: 1, these alone where there are any)")
    made.add_argument("--compose", type=float, default=0.0, metavar="SHARE", help="of composed clips (default: 0)")
    made.add_argument("--seed", type=int, default=0, help="of wordings and of composed clips (default: 0)")
    made.add_argument("--limit", type=int, metavar="N", help="so many clips, evenly spread (default: all)")
    made.add_argument("--out", metavar="FILE", help="a JSON object per line and clip (default: text on the screen)")
    made.add_argument("--procedural-size", type=int, metavar="N", help="clips of 'procedural' (default: 512)")
    made.add_argument("--procedural-actions", metavar="SET", help="of 'procedural': basic or wide (default: basic)")
    made.add_argument("--procedural-seed", type=int, metavar="SEED", help="of 'procedural' (default: 0)")
    return made


def _captions(args: argparse.Namespace, cfg: DataConfig) -> int:
    from mld.data.sources.opening import build_source
    from mld.errors import RequestError
    from mld.files import write_text

    if args.limit is not None and args.limit < 1:
        raise RequestError(f"--limit {args.limit}: at least one clip is needed")
    seeds = {"fact_seed": args.seed, "compose_seed": args.seed}
    source = build_source(replace(cfg, fact_captions=args.fact_captions, compose=args.compose, **seeds), "train")
    print(source.report(), file=sys.stderr)
    rows = list(_rows(source, args.limit or len(source)))
    if args.out:
        write_text(Path(args.out), "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
        print(f"{args.out}: sentences of {len(rows):,} clips")
    else:
        for row in rows:
            print(f"{row['name']} ({row['frames']} frames)", *(f"    {text}" for text in row["captions"]), sep="\n")
    return EXIT_OK


def _rows(source: ClipSource, limit: int) -> Iterator[dict]:
    total = min(limit, len(source))
    for number in range(total):
        index = number * len(source) // total
        clip = source[index]
        yield {"name": clip.name, "frames": clip.num_frames, "label": clip.label, "captions": list(clip.captions)}
