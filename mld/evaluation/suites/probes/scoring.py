"""What one motion of a probe shows: whether it does what is said, why not, and how natural it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mld.errors import DataError
from mld.evaluation.suites.probes.predicates import Probe, check
from mld.evaluation.suites.probes.settings import ProbeSettings
from mld.evaluation.suites.probes.sources import Sample, Source
from mld.evaluation.suites.reading import read_clip
from mld.evaluation.suites.running import by_reason
from mld.evaluation.suites.settings import FPS
from mld.metrics.items import nan_for_none
from mld.metrics.physical import PhysicalSanity
from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton


@dataclass(frozen=True, eq=False)
class Outcome:
    """passed: it does what is said. reasons: what it does not do, a line each. motion: None where there is none that
    can be read; that has not passed. physical: `PhysicalSanity` by name; what is too short for a number has none."""

    sample: Sample
    passed: bool
    reasons: tuple[str, ...]
    motion: Motion | None = None
    physical: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        return None if self.motion is None else self.motion.num_frames / FPS


@dataclass(frozen=True, eq=False)
class Row:
    """A probe with what became of its samples."""

    probe: Probe
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> int:
        return sum(outcome.passed for outcome in self.outcomes)

    def counted(self, partial: bool) -> list[Outcome]:
        """Those that count. partial: motions that are not there do not; otherwise they have not passed."""
        return [outcome for outcome in self.outcomes if outcome.motion is not None or not partial]


def score(probe: Probe, source: Source, settings: ProbeSettings) -> Row:
    """Look at every sample of a probe."""
    return Row(probe, tuple(_outcome(probe, sample, source.own, settings) for sample in source.samples(probe)))


def _outcome(probe: Probe, sample: Sample, own: bool, settings: ProbeSettings) -> Outcome:
    if sample.file is None:
        return Outcome(sample, False, (sample.reason,))
    try:
        clip = read_clip(sample.file, settings, own)
        if clip.wrong:
            raise DataError(f"{sample.file}: {clip.wrong}")
    except DataError as error:
        return Outcome(sample, False, (str(error),))
    verdict = check(probe, clip.motion.joints.double().numpy(), FPS)
    return Outcome(sample, verdict.passed, verdict.reasons, clip.motion, _physical(clip.motion))


def _physical(motion: Motion) -> dict[str, float]:
    sanity = PhysicalSanity(motion.skeleton, FPS)
    sanity.update([motion.joints], [0])
    scores = sanity.scores().items()
    return {name: float(nan_for_none(score.value)) for name, score in scores if score.value is not None}


def physical_units() -> dict[str, str]:
    """Names of the physical numbers with their units."""
    sanity = PhysicalSanity(get_skeleton("smpl22"), FPS)
    return {name: sanity.units.get(name, "share") for name in sanity.names}


def unread(rows: Iterable[Row]) -> list[str]:
    """Samples without a motion, a line for each reason."""
    return by_reason((row.probe.id, outcome.reasons[0]) for row in rows for outcome in row.outcomes
                     if outcome.motion is None)  # fmt: skip
