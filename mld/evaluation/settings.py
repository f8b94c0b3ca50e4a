"""What an evaluation is told to do. Plain data, so that a command shows its help without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mld.metrics.mode import Mode

Split = Literal["train", "val", "test"]
Captions = Literal["random", "first"]
Crop = Literal["coin", "whole"]
Length = Literal["given", "model"]
Matches = Literal["item", "label"]


@dataclass(frozen=True)
class Settings:
    """split, limit: the clips, all or the first so many. replications: with seeds `seed`, `seed` + 1, ...; 1 gives
    intervals over clips. multimodality: captions that are answered many times each, 0 for none. mode to matches: see
    `mld.evaluation.protocol.Protocol`; matches None: by label where the clips have labels. controls: rows that must be
    bad. record_expected: the real row is what the evaluators are known to give from now on.

    whole_groups, no_diversity: of published tests, see `mld.models.contracts.published.PublishedTest`.

    evaluators: their folders, or none; None for the bundled ones that fit the clips. bert: folder of the BERTScore
    model, None leaves BERTScore out. device: where evaluators work. batch_size: requests that are answered together.

    out: folder of the results, None for one of its own below out/test. restart: throw away what is there. cache: folder
    of reference embeddings. progress: draw bars."""

    split: Split = "test"
    limit: int | None = None
    seed: int = 0
    replications: int = 20
    multimodality: int = 100
    mode: Mode = "strict"
    captions: Captions = "random"
    crop: Crop = "coin"
    length: Length = "given"
    matches: Matches | None = None
    whole_groups: bool = False
    no_diversity: bool = False
    controls: bool = False
    record_expected: bool = False
    evaluators: tuple[Path, ...] | None = None
    bert: Path | None = None
    device: str = "cpu"
    batch_size: int = 32
    out: Path | None = None
    restart: bool = False
    cache: Path = Path("out/cache")
    progress: bool = False
