"""The protocol of an evaluation: which clips count, how replications are drawn, what numbers mean, in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mld.data.config import DataConfig
from mld.evaluation.settings import Captions, Crop, Length, Matches, Settings
from mld.metrics.mode import Mode


@dataclass(frozen=True)
class Protocol:
    """captions: a random one of each clip or the first. crop: "coin", to a multiple of `unit` frames, in one of three
    cases one unit less, starting anywhere; or "whole". min_frames, max_frames: clips outside are left out.
    length: "given", a model is told how long the motion is to be where it can be; or "model", it decides. matches:
    "item", only a clip's own caption is right; or "label", that of every clip of its label. seed: replication r has
    seed + r. features: where those of the clips come from, told in mode "upstream": "files", as published, or
    "corrected", encoded here. whole_groups, no_diversity: of published tests, see
    `mld.models.contracts.published.PublishedTest`."""

    mode: Mode = "strict"
    captions: Captions = "random"
    crop: Crop = "coin"
    min_frames: int = 40
    max_frames: int = 199
    length: Length = "given"
    matches: Matches = "item"
    seed: int = 0
    unit: int = 4
    features: str = ""
    whole_groups: bool = False
    no_diversity: bool = False

    @classmethod
    def of(cls, settings: Settings, data: DataConfig, labelled: bool, encoded: bool = True) -> Protocol:
        """That of the settings on such data. labelled: whether some clips have a label. encoded: whether some features
        are not those of files."""
        matches = settings.matches or ("label" if labelled else "item")
        features = "" if settings.mode == "strict" else "corrected" if encoded else "files"
        return cls(settings.mode, settings.captions, settings.crop, data.shortest(), data.max_frames, settings.length,
                   matches, settings.seed, data.unit_length, features, settings.whole_groups,
                   settings.no_diversity)  # fmt: skip

    @property
    def cropping(self) -> str:
        """"coin4" for multiples of four frames, "whole"."""
        return f"coin{self.unit}" if self.crop == "coin" else self.crop

    def identity(self, what: str, evaluator: str = "") -> str:
        """One line that says what a number of `what` means. evaluator: name, statistics and fingerprint."""
        parts = [what, self.mode, f"captions={self.captions}", f"crop={self.cropping}",
                 f"frames={self.min_frames}-{self.max_frames}", f"length={self.length}"]  # fmt: skip
        parts += [f"features={self.features}"] if self.features else []
        parts += ["groups=whole"] if self.whole_groups else []
        parts += ["diversity=0"] if self.no_diversity else []
        return "/".join([*parts, f"matches={self.matches}", evaluator] if evaluator else parts)

    def replication_seed(self, replication: int) -> int:
        return self.seed + replication


def split_identity(identity: str) -> tuple[str, str]:
    """A protocol's line as what is measured and how: numbers with the same second part may stand in one table."""
    found = re.search(r"/(?=(strict|upstream)/captions=)", identity)
    return (identity[: found.start()], identity[found.end() :]) if found else (identity, "")
