"""Examination of a dataset folder: what it holds, as a readable report, and what is wrong with it.

Errors are what spoils training or evaluation (unusable files, clips shared between splits, wrong statistics); warnings
and notes are worth knowing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mld.data.clips import SPLITS
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.data.sources.shards import ShardsSource
from mld.data.statistics import compare, measure, statistics_file
from mld.data.survey import SplitSurvey, Survey, survey
from mld.data.twins import Leaks, find_leaks, read_names
from mld.errors import DataError
from mld.motion.normalizer import Normalizer

EXAMINED = ("humanml3d", "joints", "json")  # of other sources there is what they report
ERROR, WARNING, NOTE = "error", "warning", "note"
SHOWN = 3
_RECORDINGS = {"joints": "trials have clips", "json": "motion files have clips"}
# Median over clips of the speed of the fastest joint and of the root's height: outside, fps or unit is probably wrong.
PLAUSIBLE_SPEED = (0.3, 8.0)
PLAUSIBLE_HEIGHT = (0.5, 1.3)


@dataclass(frozen=True)
class Finding:
    level: str
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """report: lines to print. findings: what the examination found, errors first."""

    report: list[str]
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        return not any(finding.level == ERROR for finding in self.findings)


def examine(cfg: DataConfig) -> Diagnosis:
    """Look at the folder `cfg.root`, or at the folder of each of `cfg.sources`; `DataError` if there is nothing to look
    at. A folder of a mixture that cannot be looked at is an error in the report."""
    if cfg.sources:
        return _mixture(cfg)
    if cfg.source not in EXAMINED:
        return _reports(cfg)
    found = survey(cfg)
    checks = (_splits, _problems, _leaks, _twins, _doubles, _units, _bodies, _captions, _statistics)
    findings = [finding for check in checks for finding in check(found)]
    findings.sort(key=lambda finding: (ERROR, WARNING, NOTE).index(finding.level))
    return Diagnosis([*_overview(found), *_findings(findings)], findings)


def _mixture(cfg: DataConfig) -> Diagnosis:
    cfg.check()
    report, findings = [], []
    for key, entry, own in cfg.entries():
        report.append(f"{key} ({entry.title}), weight {entry.weight:g}")
        try:
            part = examine(own)
        except DataError as error:
            refused = Finding(ERROR, f"{key} ({entry.title}): {error}")
            part = Diagnosis([f"{ERROR}: {refused.message}"], [refused])
        report += [*part.report, ""]
        findings += part.findings
    return Diagnosis(report[:-1], findings)


def _reports(cfg: DataConfig) -> Diagnosis:
    """What a source says of itself, split by split; `DataError` where no split can be used."""
    report: list[str] = []
    findings: list[Finding] = []
    for split in SPLITS:
        try:
            source = build_source(cfg, split)
        except DataError as error:
            findings.append(Finding(ERROR, f"{split}: {error}"))
            if len(findings) == len(SPLITS) and not report:
                raise
            continue
        report.append(source.report())
        findings += [Finding(WARNING, str(problem)) for problem in source.problems]
        if isinstance(source, ShardsSource):
            findings += [Finding(ERROR, str(problem)) for problem in source.damage()]
    findings = sorted(dict.fromkeys(findings), key=lambda finding: finding.level)  # an error before a warning
    return Diagnosis([*report, *_findings(findings)], findings)


def _overview(found: Survey) -> Iterator[str]:
    fps = next((split.source.fps for split in found.splits.values() if split.source), found.representation.fps)
    yield f"{found.root}: layout '{found.cfg.source}', features '{found.cfg.representation}', {fps:g} frames per second"
    yield ""
    columns = (("ids", 8), ("clips", 8), ("minutes", 9), ("seconds: min", 14), ("median", 8), ("max", 8))
    columns += (("captions", 10), ("distinct", 10))
    yield f"{'split':<8}" + "".join(f"{title:>{width}}" for title, width in columns)
    for name, split in found.splits.items():
        yield f"{name:<8}{len(split.members):>8,}" + _row(split, fps)
    yield ""
    for split in found.splits.values():
        if split.source:
            yield split.source.report()
    yield from _groups(found)


def _row(split: SplitSurvey, fps: float) -> str:
    if not split.source:
        return f"{0:>8}  no usable clip"
    seconds = np.asarray(split.frames) / fps
    lengths = f"{seconds.min():>14.1f}{np.median(seconds):>8.1f}{seconds.max():>8.1f}"
    counts = f"{len(split.captions):>10,}{len(set(split.captions)):>10,}"
    return f"{len(split.frames):>8,}{seconds.sum() / 60:>9.1f}{lengths}{counts}"


def _groups(found: Survey) -> Iterator[str]:
    groups = sorted({group for split in found.splits.values() for group in split.groups})
    if groups:
        yield ""
        yield f"{'group':<24}" + "".join(f"{name:>8}" for name in found.splits)
    for group in groups:
        yield f"{group:<24}" + "".join(f"{split.groups[group]:>8,}" for split in found.splits.values())


def _findings(findings: list[Finding]) -> Iterator[str]:
    yield ""
    yield from (f"{finding.level}: {finding.message}" for finding in findings)
    errors, warnings = (sum(finding.level == level for finding in findings) for level in (ERROR, WARNING))
    yield f"errors: {errors}, warnings: {warnings}" if errors or warnings else "nothing to complain about"


def _splits(found: Survey) -> Iterator[Finding]:
    for split in found.missing:
        yield Finding(WARNING, f"there is no split file {split}.txt")
    for name, split in found.splits.items():
        if split.error:
            yield Finding(ERROR, f"{name}: {split.error}")
        if split.repeated:
            yield Finding(WARNING, f"{name}.txt names {_some(split.repeated)} more than once")
    if found.unsplit:
        yield Finding(NOTE, f"{found.unsplit:,} clips are in no split file")


def _problems(found: Survey) -> Iterator[Finding]:
    problems = {problem: None for split in found.splits.values() for problem in split.problems}
    for problem in list(problems)[: SHOWN * 5]:
        yield Finding(ERROR, str(problem))
    if len(problems) > SHOWN * 5:
        yield Finding(ERROR, f"and {len(problems) - SHOWN * 5:,} more files or lines like these")


def _leaks(found: Survey) -> Iterator[Finding]:
    for (a, first), (b, second) in itertools.combinations(found.splits.items(), 2):
        same = sorted(first.members.keys() & second.members.keys())
        if same:
            yield Finding(ERROR, f"{len(same):,} clips are both in {a} and {b}: {_some(same)}")
        shared = sorted(set(first.members.values()) & set(second.members.values()) - set(same))
        if shared:
            what = _RECORDINGS.get(found.cfg.source, "clips or their mirrored twins are")
            yield Finding(ERROR, f"{len(shared):,} {what} both in {a} and {b}: {_some(shared)}")
        doubles = [(first.motions[key], second.motions[key]) for key in first.motions.keys() & second.motions.keys()]
        doubles = sorted(f"{x} = {y}" for x, y in doubles if x != y)
        if doubles:
            yield Finding(ERROR, f"{len(doubles):,} motions of {a} are repeated in {b}: {_some(doubles)}")


def _twins(found: Survey) -> Iterator[Finding]:
    if found.cfg.source == "humanml3d":
        yield from twin_findings(find_leaks({name: list(split.members) for name, split in found.splits.items()}))


def twin_findings(leaks: Leaks) -> Iterator[Finding]:
    """What is wrong with split files of which names alone are known, and what would be left."""
    if leaks.dropped:
        by = ", ".join(f"{count:,} in {a} and {b}" for (a, b), count in sorted(leaks.apart.items()))
        yield Finding(ERROR, f"{leaks.dropped.total():,} clips leak by themselves or their mirrored twins ({by}); "
                             f"without them there are {leaks.remaining}: --leak-free FOLDER writes such splits")
    if leaks.case_twins:
        pairs = _some([f"{a} = {b}" for a, b in leaks.case_twins])
        yield Finding(WARNING, f"{len(leaks.case_twins):,} names differ in the case of letters only, which some disks "
                               f"do not tell apart: {pairs}")


def examine_names(folder: Path) -> tuple[Diagnosis, Leaks]:
    """Look at the names of split files alone: clips that leak into another split."""
    splits = read_names(folder)
    leaks = find_leaks(splits)
    findings = list(twin_findings(leaks))
    counts = ", ".join(f"{split} {len(names):,}" for split, names in splits.items())
    return Diagnosis([f"{folder}: {counts}", *_findings(findings)], findings), leaks


def _doubles(found: Survey) -> Iterator[Finding]:
    for name, split in found.splits.items():
        if split.doubles:
            pairs = [f"{x} = {y}" for x, y in split.doubles]
            yield Finding(WARNING, f"{name}: {len(pairs):,} motions occur twice: {_some(pairs)}")


def _units(found: Survey) -> Iterator[Finding]:
    speeds = [speed for split in found.splits.values() for speed in split.speeds]
    heights = [height for split in found.splits.values() for height in split.heights]
    if not speeds:
        return
    speed, height = float(np.median(speeds)), float(np.median(heights))
    text = f"the fastest joint moves at {speed:.2f} m/s and the root is {height:.2f} m high (medians over clips)"
    if not PLAUSIBLE_SPEED[0] <= speed <= PLAUSIBLE_SPEED[1]:
        yield Finding(WARNING, f"{text}: is the frame rate right?")
    elif not PLAUSIBLE_HEIGHT[0] <= height <= PLAUSIBLE_HEIGHT[1]:
        yield Finding(WARNING, f"{text}: is the unit metres, and y up?")
    else:
        yield Finding(NOTE, f"{text}: frame rate and unit look right")


def _bodies(found: Survey) -> Iterator[Finding]:
    for name, split in found.splits.items():
        count = len(split.frames)
        if split.normalised:
            yield Finding(ERROR, f"{name}: features of {len(split.normalised):,} of {count:,} clips look normalised "
                                 f"(mean 0, std 1); raw ones are needed: {_some(split.normalised)}")
        if split.odd:
            shown = [f"{clip}: {reason}" for clip, reason in itertools.islice(split.odd.items(), SHOWN)]
            more = f" | and {len(split.odd) - SHOWN:,} more" if len(split.odd) > SHOWN else ""
            yield Finding(WARNING, f"{name}: {len(split.odd):,} of {count:,} clips are odd: {' | '.join(shown)}{more}")


def _captions(found: Survey) -> Iterator[Finding]:
    train, test = (set(found.splits[name].captions) if name in found.splits else set() for name in ("train", "test"))
    if train and test:
        share = len(train & test) / len(test)
        yield Finding(NOTE, f"{share:.0%} of the distinct test captions also occur in train")
    words = [len(text.split()) for split in found.splits.values() for text in split.captions if text]
    if words:
        yield Finding(NOTE, f"captions have {np.mean(words):.1f} words on average, {max(words)} at most")


def _statistics(found: Survey) -> Iterator[Finding]:
    file = statistics_file(found.root)
    if file is None:
        yield Finding(NOTE, "no mean.npy and std.npy in the folder; 'python -m prepare.data stats' writes them")
        return
    train = found.splits.get("train")
    try:
        normalizer = Normalizer.load(file.parent).check(found.representation)
    except DataError as error:
        yield Finding(ERROR, f"statistics: {error}")
        return
    if train is None or train.source is None:
        return
    kind, misfits = compare(normalizer, measure(train.source), found.representation)
    if misfits:
        yield Finding(ERROR, f"{file.name} and its std do not fit the train clips: {'; '.join(misfits)}")
    else:
        yield Finding(NOTE, f"{file.name} and its std fit the train clips (kind '{kind}')")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
