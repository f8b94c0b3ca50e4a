"""Facts do not depend on where a clip starts, how often it was sampled, or which of its sides is called left; and every
clip has some, however short or strange it is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mld.data.fact_cache import mirrored
from mld.data.fact_captions import measure
from mld.data.mirroring import mirror_joints
from mld.data.sources.procedural.actions import registered
from mld.data.sources.procedural.script import perform
from mld.data.sources.procedural.source import clip_script
from mld.data.sources.procedural.wide import script_of
from mld.evaluation.suites.probes.measures import MEASURES
from mld.evaluation.suites.probes.predicates import check, named_facts, read_probes
from mld.motion.facts import Event, Facts
from mld.motion.facts.body import ANKLE, TOE, Body
from mld.motion.skeletons import get_skeleton
from tests.motion.test_facts import STANDING, still

FPS = 20
PAIRS = get_skeleton("smpl22").mirror_pairs
NUMBERS = ("forward", "leftward", "distance", "displacement", "turned", "pelvis_rise", "pelvis_drop", "lowest_head",
           "cruise")  # fmt: skip


@lru_cache
def clips() -> list[np.ndarray]:
    return [perform(clip_script(14, "train", number, wide=True)).joints.astype(np.float64) for number in range(16)]


def sampled(joints: np.ndarray, fps: float) -> np.ndarray:
    """The motion at another frame rate, in between along smooth curves."""
    times = np.arange(len(joints)) / FPS
    return CubicSpline(times, joints)(np.arange(int(times[-1] * fps + 1e-6) + 1) / fps)


def played(name: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 16])
    return perform(script_of(rng, "one", (registered(wide=True)[name].factory(rng),), 0.3, 0.3)).joints.astype(float)


def shown(facts: Facts) -> set[str]:
    return {name for name, holds in named_facts().items() if not holds(facts)}


def alike(one: tuple[Event, ...], other: tuple[Event, ...]) -> bool:
    def rows(events: tuple[Event, ...]) -> list[tuple]:
        return sorted((e.name, e.side, e.way, e.count, round(e.start, 3), round(e.end, 3)) for e in events)

    amounts = [sorted((e.name, e.side, e.start, e.amount) for e in events) for events in (one, other)]
    return rows(one) == rows(other) and np.allclose(*[[row[3] for row in part] for part in amounts], atol=1e-4)


def test_a_mirrored_clip_has_mirrored_facts() -> None:
    for number, joints in enumerate(clips()):
        expected, found = mirrored(measure(joints, FPS)), measure(mirror_joints(joints, PAIRS), FPS)
        assert alike(found.events, expected.events), number
        assert found.turned == pytest.approx(expected.turned, abs=1e-6)


def test_where_a_clip_starts_and_faces_changes_nothing() -> None:
    for number, joints in enumerate(clips()):
        angle = 0.7 + number
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        before, after = Facts(joints), Facts(joints @ turn.T + [31.0, -2.5, 7.0])
        assert alike(after.events, before.events) and shown(after) == shown(before), number
        for name in NUMBERS:
            measured = MEASURES[name][0]
            assert measured(after) == pytest.approx(measured(before), abs=1e-5), name


@pytest.mark.parametrize("fps", [10, 30, 60, 120])
def test_other_frame_rates_show_nearly_the_same(fps: int) -> None:
    differ = 0
    for joints in clips():
        before, after = Facts(joints, FPS), Facts(sampled(joints, fps), fps)
        differ += len(shown(before) ^ shown(after))
        for name in NUMBERS:
            measured, within = MEASURES[name][0], {"turned": 1.0, "cruise": 0.06}.get(name, 0.03)
            assert measured(after) == pytest.approx(measured(before), abs=within), name
    assert differ <= 0.01 * len(clips()) * len(named_facts())


@pytest.mark.parametrize(("name", "event"), [
    ("jumping_jacks", "jumping_jack"), ("jump_up", "jump"), ("star_jump", "jump"), ("hop", "hop"), ("clap", "clap"),
])  # fmt: skip
def test_counts_do_not_depend_on_the_frame_rate(name: str, event: str) -> None:
    for seed in range(3):
        joints = played(name, seed)
        found = {fps: Facts(sampled(joints, fps), fps).find(event) for fps in (FPS, 40, 120)}
        counts = {fps: sum(e.count for e in events) for fps, events in found.items()}
        assert counts[FPS] > 0 and set(counts.values()) == {counts[FPS]}, seed


@pytest.mark.parametrize("foot", ["left", "right"])
def test_feet_that_leave_together_and_land_apart(foot: str) -> None:
    """Neither foot was first to leave, so the flight has no side of its own, whichever lands first."""
    joints, t = still(61), np.arange(61) / FPS
    air = np.where((t > 1.2) & (t < 1.65), 4.9 * (t - 1.2) * (1.65 - t), 0.0)
    joints[:, :, 1] += air[:, None]
    for joint in (ANKLE[foot], TOE[foot]):  # stays up where it was highest
        joints[:, joint, 1] = STANDING[joint, 1] + np.where((t > 1.42) & (t < 2.0), air.max(), air)
    flights = [e for e in Facts(joints).events if e.name in ("jump", "hop", "leap", "stride")]
    other = [e for e in Facts(mirror_joints(joints, PAIRS)).events if e.name in ("jump", "hop", "leap", "stride")]
    assert [(e.name, e.side) for e in flights] == [(e.name, e.side) for e in other] == [("jump", "both")]


STRANGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{f"{frames} frames": (lambda walk, frames=frames: walk[:frames]) for frames in range(1, 11)},
    "head down": lambda walk: walk * [1, -1, 1], "inside out": lambda walk: -walk,
    "in millimetres": lambda walk: 1000 * walk, "tiny": lambda walk: 1e-6 * walk, "flat": lambda walk: walk * [1, 0, 1],
    "one point": lambda walk: 0 * walk, "not moving": lambda walk: np.repeat(walk[:1], 60, axis=0),
    "far away": lambda walk: walk + 1e6, "noise": lambda walk: np.random.default_rng(0).normal(size=(50, 22, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_strange_clips_have_facts(name: str) -> None:
    """Every event and measure is a number, a probe is judged, and what lasts less than half a second shows nothing."""
    joints = STRANGE[name](clips()[0])
    for fps in (10.0, 20.0, 120.0):
        facts = Facts(joints, fps)
        numbers = [measured(facts) for measured, _ in MEASURES.values()]
        numbers += [number for e in facts.events for number in (e.start, e.end, e.amount, e.count)]
        assert np.isfinite(numbers).all()
        for probe in read_probes():
            verdict = check(probe, facts)
            assert verdict.passed == (not verdict.reasons) and (facts.seconds >= 0.5 or not verdict.passed)
            assert all(verdict.reasons)


def test_a_motion_of_an_hour_is_measured() -> None:
    """In memory that grows with its length, not with the square of it; on its side it keeps the way it faced last."""
    joints = np.tile(np.concatenate([clips()[0][:30], np.repeat(clips()[0][29:30], 10, axis=0)]), (1800, 1, 1))
    on_its_side = joints[30:34] @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    tracemalloc.start()
    body = Body(np.concatenate([joints[:30], on_its_side, joints[34:]]))
    facing = body.facing
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(facing) == 72_000 and peak < 20 * joints.nbytes and abs(facing[32] - facing[29]) < 0.1


@pytest.mark.parametrize("fps", [0.0, -20.0, float("nan"), float("inf")])
def test_what_is_no_frame_rate_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="frames per second"):
        Facts(still(20), fps)
