"""How the published tests of a family run, where it is not as in everybody's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTest:
    """min_frames, max_frames: clips outside are left out, None: as the data say. unit: of crops, in frames.
    open_length: models decide how long motions are. whole_groups: clips beyond the last whole group of 32 count in no
    number. no_diversity: it is 0, as it is not measured. replications: how many there are."""

    unit: int
    min_frames: int | None = None
    max_frames: int | None = None
    open_length: bool = False
    whole_groups: bool = False
    no_diversity: bool = False
    replications: int = 1
