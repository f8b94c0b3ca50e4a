"""One leg in the air: kicks and raised knees."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mld.motion.facts.body import ANKLE, HIP, KNEE, Body
from mld.motion.facts.event import SIDES, Event
from mld.motion.facts.signals import grow, peaks_and_ends, rate, spans


def kicks(body: Body) -> list[Event]:
    """A stretched leg thrown up and out. amount: height in metres of the ankle over where it stands; way: of the
    foot."""
    limits, size = body.limits, body.size
    out = []
    for side in SIDES:
        foot, other = body.local(ANKLE[side], HIP[side]), "right" if side == "left" else "left"
        rise = body.height(ANKLE[side]) - body.ankle_height
        away = np.linalg.norm(foot[:, ::2], axis=-1)
        standing = np.maximum(body.height(ANKLE[other]) - body.ankle_height, 0)
        thrown = np.where((body.stretch(side) > limits.kick_stretch) & (away > limits.kick_reach * size)
                          & (rise - standing > limits.kick_rise * size),
                          rise, 0.0)  # fmt: skip
        speed = np.linalg.norm(rate(foot, body.fps), axis=-1)
        for peak in peaks_and_ends(thrown, body.fps, 0.5 * limits.kick_rise * size, apart=0.5):
            before = speed[max(0, peak - round(0.5 * body.fps)) : peak + 1]
            if before.max() < limits.kick_speed * body.pace or body.lift[peak] < -0.35 * size:
                continue
            if foot[peak, 2] < 0 and body.speed[peak] > limits.calm_knee * body.pace:
                continue  # the leg that swings behind in a run
            a, b = grow(rise, peak, 0.3 * rise[peak])
            left, _, ahead = foot[peak]
            way = (
                ("forward" if ahead > 0 else "backward")
                if abs(ahead) >= abs(left)
                else ("left" if left > 0 else "right")
            )
            out.append(Event("kick", body.time(a), body.time(b - 1), side, float(rise[peak]), 1, way))
    return _highest(out)


def _highest(found: list[Event]) -> list[Event]:
    """Kicks in order; a leg that swings back and then forward without being set down kicks once, where it goes
    higher."""
    kept: list[Event] = []
    for event in sorted(found, key=lambda one: -one.amount):
        if not any(event.side == k.side and event.start < k.end and k.start < event.end for k in kept):
            kept.append(event)
    return sorted(kept, key=lambda event: event.start)


def knee_raises(body: Body, kicked: Iterable[Event], flights: Iterable[Event]) -> list[Event]:
    """A bent knee lifted in front. amount: metres over its standing height. Legs that kick, jump or run are none."""
    limits, size = body.limits, body.size
    busy = [(k.side, k.start - 0.3, k.end + 0.3) for k in kicked]
    busy += [("both", f.start - 0.2, f.end + 0.2) for f in flights if f.name in ("jump", "leap")]
    out = []
    for side in SIDES:
        knee = body.height(KNEE[side])
        usual = body.ankle_height + float(
            np.median(np.linalg.norm(body.joints[:, ANKLE[side]] - body.joints[:, KNEE[side]], axis=-1))
        )
        rise = knee - usual
        foot = body.height(ANKLE[side]) - body.ankle_height
        lifted = np.where((foot > 0.1 * size) & (body.lift > -0.15 * size), rise, 0.0)
        for peak in peaks_and_ends(
            lifted, body.fps, 0.6 * limits.knee_rise * size, apart=0.3, height=limits.knee_rise * size
        ):
            a, b = grow(lifted, peak, 0.5 * lifted[peak])
            running = body.speed[peak] > limits.calm_knee * body.pace
            if not running and not any(who in (side, "both") and x < body.time(peak) < y for who, x, y in busy):
                out.append(Event("knee_raise", body.time(a), body.time(b - 1), side, float(rise[peak])))
    return sorted(out, key=lambda event: event.start)


def on_one_leg(body: Body) -> list[Event]:
    """A foot held off the ground for 0.8 s or more while the other one stands. side: the leg that stands."""
    out = []
    for side, other in (("left", "right"), ("right", "left")):
        up = body.height(ANKLE[other]) - body.ankle_height > 0.08 * body.size
        up &= body.clearance(other) > 1.2 * body.limits.contact * body.size
        stands = (body.clearance(side) < 2.5 * body.limits.contact * body.size) & (body.lift > -0.25 * body.size)
        for a, b in spans(up & stands, body.fps, least=0.8, gap=0.15):
            out.append(Event("one_leg", body.time(a), body.time(b - 1), side, (b - a) / body.fps))
    return out
