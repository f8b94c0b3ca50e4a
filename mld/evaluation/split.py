"""The split that an evaluation runs over: its clips that count, and what the results file says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mld.config import to_plain
from mld.data.clips import is_encoded
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.evaluation.clips import ClipSet, usable
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from mld.example import CaptionedClip
from mld.metrics import ranks
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation

NAMED = 5  # clips in a line about what is left out


@dataclass(frozen=True, eq=False)
class Split:
    """given: by number, the whole of the clips that begin with a given motion; in `clips` they are what follows.
    encoded: whether features of some are not those of files."""

    clips: ClipSet
    representation: Representation
    about: dict[str, Any]
    given: Mapping[int, CaptionedClip] = field(default_factory=dict)
    encoded: bool = True


def open_split(data: DataConfig, settings: Settings, subject: Subject | None) -> Split:
    """The clips that can be measured and that the subject, if there is one, can be asked about. `DataError` when there
    is none, or when the subject reads another representation."""
    source = build_source(data, settings.split)
    ranks.say(source.report())
    count = min(len(source), settings.limit or len(source))
    representation = get_representation(source.representation)
    given: dict[int, CaptionedClip] = {}

    def read() -> Iterator[CaptionedClip]:
        for number in range(count):
            clip = source[number]
            if clip.history:
                given[number] = clip
                features = representation.part(clip.features, clip.history, clip.num_frames)
                clip = replace(clip, features=features, history=0)
            yield clip

    clips = usable(read(), data.shortest(), data.max_frames)
    if subject is not None:
        _check_representation(subject.representation, source.representation)
        clips = clips.without(subject.refuses)
    for reason, names in clips.left_out.items():
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        ranks.say(f"left out: {len(names)} clips {reason} ({shown})")
    if not len(clips):
        raise DataError(f"split '{settings.split}' has no usable clip; see data.min_frames, data.max_frames")
    return Split(clips, representation, {
        "name": source.name, "split": settings.split, "clips": len(clips), "hash": clips.data_hash,
        "captions_hash": clips.captions_hash, "config": to_plain(data), "limited": count < len(source),
        "source": data.source, "representation": source.representation, "fps": source.fps,
        "left_out": {reason: len(names) for reason, names in clips.left_out.items()},
        "problems": [str(problem) for problem in source.problems],
    }, given, is_encoded(source))  # fmt: skip


def _check_representation(read: str, there: str) -> None:
    if read != there:
        raise DataError(f"the model reads '{read}', the clips are '{there}'; set data.representation")
