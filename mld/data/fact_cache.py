"""The facts of all clips of a source, measured once and kept in a folder.

A file holds those of some hundred clips. Its name follows from their features and from the code that measures, so it is
found again in any data set that has these clips, and is never read for others; it may be deleted at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.data.fact_captions import measure
from mld.data.facts_in_order import Measured
from mld.data.mirroring import original_of
from mld.errors import ConfigError
from mld.example import CaptionedClip
from mld.files import parse_json, write_text
from mld.motion import facts
from mld.motion.facts.event import Event
from mld.motion.representations.registry import get_representation
from mld.reading import read_text

BLOCK = 256  # clips in a file
SHOWN = 200
OTHER = {"left": "right", "right": "left"}


def measured(source: ClipSource, folder: Path | None = None) -> list[Measured]:
    """Of every clip. A clip whose mirrored twin is there as well has the twin's facts with the sides exchanged.

    `ConfigError` for a representation of another skeleton than the 22 joints."""
    skeleton = get_representation(source.representation).skeleton
    if skeleton.name != "smpl22":
        told = f"facts are measured on 22 joints, and '{source.representation}' has {skeleton.num_joints}"
        raise ConfigError(f"data.fact_captions: {told}; set it to 0")
    folder = default_folder() if folder is None else folder
    names: dict[str, int] = {}
    found: dict[int, Measured] = {}
    shown = tqdm(total=len(source), desc=f"facts of {source.name}", disable=len(source) < SHOWN or None, leave=False)
    for block in _blocks(source):
        names.update((clip.name, number) for number, clip in block)
        origins = {number: original_of(clip.name, names) for number, clip in block}
        twins = {number: names[origins[number]] for number, clip in block if origins[number] != clip.name}
        fresh = [(number, clip) for number, clip in block if number not in twins]
        known = _read_or_measure([clip for _, clip in fresh], source.representation, folder)
        found.update(zip((number for number, _ in fresh), known, strict=True))
        found.update((number, mirrored(found[other])) for number, other in twins.items())
        shown.update(len(block))
    shown.close()
    return [found[number] for number in range(len(source))]


def mirrored(one: Measured) -> Measured:
    """The facts of the reflected motion."""
    events = (
        replace(
            event,
            side=OTHER.get(event.side, event.side),
            way=OTHER.get(event.way, event.way),
            amount=-event.amount if event.name == "turn" else event.amount,
        )
        for event in one.events
    )
    return Measured(one.seconds, -one.turned, tuple(events))


def default_folder() -> Path:
    """`mld/facts` in the folder that the system has for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mld" / "facts"


def _blocks(source: ClipSource) -> Iterator[list[tuple[int, CaptionedClip]]]:
    for start in range(0, len(source), BLOCK):
        yield [(number, source[number]) for number in range(start, min(start + BLOCK, len(source)))]


def _read_or_measure(clips: Sequence[CaptionedClip], representation: str, folder: Path) -> list[Measured]:
    if not clips:
        return []
    place = folder / f"{_key(clips, representation)}.json"
    try:
        known = [_read(entry) for entry in parse_json(read_text(place))]
    except (OSError, ValueError, TypeError):  # not there, or damaged
        known = []
    if len(known) == len(clips):
        return known
    decode = get_representation(representation).decode
    made = [measure(decode(clip.features).joints.numpy(), clip.fps) for clip in clips]
    _keep(place, made)
    return made


def _keep(place: Path, made: Iterable[Measured]) -> None:
    rows = [[one.seconds, one.turned, [_row(event) for event in one.events]] for one in made]
    try:
        write_text(place, json.dumps(rows, allow_nan=False))
    except OSError:
        return  # a cache that cannot be written is measured anew next time


def _row(event: Event) -> list[object]:
    return [value if isinstance(value, (str, int)) else round(float(value), 4) for value in astuple(event)]


def _read(entry: Sequence) -> Measured:
    seconds, turned, events = entry
    return Measured(float(seconds), float(turned), tuple(Event(*event) for event in events))


def _key(clips: Sequence[CaptionedClip], representation: str) -> str:
    made = blake2b(f"{_code()} {representation}".encode(), digest_size=16)
    for clip in clips:
        made.update(f"{clip.fps} {tuple(clip.features.shape)}".encode())
        made.update(clip.features.contiguous().numpy().tobytes())
    return made.hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Of the files that measure: other code gives other facts."""
    made = blake2b(digest_size=16)
    for path in sorted(Path(str(facts.__file__)).parent.glob("*.py")):
        made.update(path.read_bytes())
    return made.hexdigest()
