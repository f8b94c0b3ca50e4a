"""Low and bent: squats, sitting, kneeling, lying, bows, leaning, hands to the floor; and standing still."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mld.motion.facts.body import ANKLE, HEAD, KNEE, PELVIS, WRIST, Body
from mld.motion.facts.event import SIDES, Event
from mld.motion.facts.signals import grow, peaks_and_ends, rate, smooth, spans


def low_postures(body: Body, flights: Iterable[Event]) -> list[Event]:
    """ "squat" (amount: metres down), "sit", "kneel" (side: the knee on the floor), "lie" (amount: seconds)."""
    lying = _lying(body)
    kneeling = [e for e in _kneeling(body) if not _within(e, lying)]
    sitting = [e for e in _sitting(body) if not _within(e, lying) and not _within(e, kneeling)]
    dips = [e for e in _dips(body, flights) if not any(_within(e, kind, 0.3) for kind in (lying, kneeling, sitting))]
    return [*lying, *kneeling, *sitting, *dips]


def _within(event: Event, others: Iterable[Event], share: float = 0.5) -> bool:
    common = (min(event.end, o.end) - max(event.start, o.start) for o in others)
    return any(seconds > share * max(event.seconds, 1e-6) for seconds in common)


def _lying(body: Body) -> list[Event]:
    flat = (body.upright < 0.6) & (body.height(HEAD) < body.limits.lie_head * body.size)
    flat &= body.height(PELVIS) < 0.35 * body.size
    return [
        Event("lie", body.time(a), body.time(b - 1), "", (b - a) / body.fps) for a, b in spans(flat, body.fps, 0.4, 0.4)
    ]


def _kneeling(body: Body) -> list[Event]:
    """A knee on the floor, the trunk rather upright and the pelvis off the ground."""
    out = []
    low = {side: body.height(KNEE[side]) < body.limits.kneel_knee * body.size for side in SIDES}
    up = (body.upright > 0.5) & (body.height(PELVIS) > 0.25 * body.size)
    for a, b in spans((low["left"] | low["right"]) & up, body.fps, 0.4, 0.4):
        shares = {side: low[side][a:b].mean() for side in SIDES}
        side = "both" if min(shares.values()) > 0.5 else max(shares, key=lambda s: shares[s])
        out.append(Event("kneel", body.time(a), body.time(b - 1), side, (b - a) / body.fps))
    return out


def _sitting(body: Body) -> list[Event]:
    """The pelvis low, behind the feet and at rest; or on the floor with the trunk upright. amount: metres down."""
    limits, size = body.limits, body.size
    chair = (body.lift < -limits.sit_drop * size) & (body.legs_behind > limits.sit_behind * size)
    bent = np.maximum(body.stretch("left"), body.stretch("right")) < 0.85
    stool = (body.lift < -0.06 * size) & (body.lift > -0.2 * size) & (body.legs_behind > 0.1 * size) & bent
    ground = (body.height(PELVIS) < 0.3 * size) & (body.upright > 0.5)
    rest = (np.abs(rate(smooth(body.lift, 0.1, body.fps), body.fps)) < 0.2 * body.pace) & (
        body.speed < 0.35 * body.pace
    )
    upright = body.upright > 0.6
    out = []
    for a, b in spans((chair | stool | ground) & upright, body.fps, limits.sit_stay, 0.3):
        if any(stop - start >= limits.sit_stay * body.fps for start, stop in spans(rest[a:b], body.fps, 0, 0.15)):
            out.append(Event("sit", body.time(a), body.time(b - 1), "", float(-body.lift[a:b].min())))
    return out


def _dips(body: Body, flights: Iterable[Event]) -> list[Event]:
    """Squats: down and up on the feet; "lunge" where the feet are far apart, one ahead (side). The bend of the knees
    before and after a jump is part of the jump."""
    limits, size, flights = body.limits, body.size, list(flights)
    down = smooth(-body.lift, 0.08, body.fps)
    grounded = np.maximum(body.height(ANKLE["left"]), body.height(ANKLE["right"])) < body.ankle_height + 0.3 * size
    out = []
    for peak in peaks_and_ends(
        down, body.fps, 0.55 * limits.squat_drop * size, apart=0.5, height=limits.squat_drop * size
    ):
        if not grounded[peak] or body.height(PELVIS)[peak] < 0.12 * size:
            continue
        a, b = grow(down, peak, max(0.35 * down[peak], 0.0))
        if any(f.name in ("jump", "hop", "leap") and f.start - 0.7 < body.time(peak) < f.end + 0.6 for f in flights):
            continue
        if body.speed[peak] > 2 * limits.low_speed * body.pace:
            continue  # a walk with bent knees
        side = _lunging(body, peak)
        lunge = bool(side)
        out.append(Event("lunge" if lunge else "squat", body.time(a), body.time(b - 1), side, float(down[peak])))
    return out


def _lunging(body: Body, frame: int) -> str:
    """The foot ahead, or the one to whose side the body sinks; "" where the feet are side by side."""
    left, _, ahead = body.local(ANKLE["left"], ANKLE["right"])[frame]
    if abs(ahead) > body.limits.lunge_apart * body.size:
        return "left" if ahead > 0 else "right"
    aside = (body.local(ANKLE["left"], PELVIS) + body.local(ANKLE["right"], PELVIS))[frame, 0] / 2
    if left > body.limits.lunge_aside * body.size and abs(aside) > 0.06 * body.size:
        return "right" if aside > 0 else "left"
    return ""


def bends(body: Body, flights: Iterable[Event]) -> list[Event]:
    """ "bow" (trunk forward, legs rather straight), "bend" (forward and low), "lean" (sideways, side; or backward,
    way). amount: degrees."""
    limits, out, flights = body.limits, [], list(flights)
    ahead, aside = (smooth(curve, 0.08, body.fps) for curve in body.trunk.T)
    for peak in peaks_and_ends(ahead, body.fps, 0.6 * limits.bow_angle, apart=0.5, height=limits.bow_angle):
        a, b = grow(ahead, peak, 0.5 * ahead[peak])
        if any(f.start - 0.8 < body.time(peak) < f.end + 0.7 for f in flights if f.name != "stride"):
            continue
        if body.speed[peak] > limits.low_speed * body.pace:
            continue  # it goes bent
        low = body.lift[a:b].min() < -limits.bow_drop * body.size
        out.append(
            Event("bend" if low else "bow", body.time(a), body.time(b - 1), "", float(ahead[peak]), 1, "forward")
        )
    for side, curve in (("left", aside), ("right", -aside), ("", -ahead)):
        for peak in peaks_and_ends(curve, body.fps, 0.6 * limits.lean_angle, apart=0.5, height=limits.lean_angle):
            a, b = grow(curve, peak, 0.5 * curve[peak])
            if body.upright[peak] > 0.4:
                out.append(
                    Event("lean", body.time(a), body.time(b - 1), side, float(curve[peak]), 1, side or "backward")
                )
    return out


def low_hands(body: Body) -> list[Event]:
    """A wrist near the floor. side: of the hands that are; amount: metres over the floor at the lowest."""
    out = []
    both = {side: smooth(body.height(WRIST[side]), 0.05, body.fps) for side in SIDES}
    least = np.minimum(both["left"], both["right"])
    up = (body.upright > -0.6) & (body.height(PELVIS) > 0.3 * body.size)  # on the feet or knees, not lying
    for a, b in spans((least < body.limits.low_hand * body.size) & up, body.fps, 0.1, 0.4):
        lowest = {side: float(both[side][a:b].min()) for side in SIDES}
        near = [side for side in SIDES if lowest[side] < body.limits.low_hand * body.size]
        if len(near) == 2 and abs(lowest["left"] - lowest["right"]) > 0.06 * body.size:
            near = [min(lowest, key=lambda s: lowest[s])]
        out.append(
            Event(
                "hand_low", body.time(a), body.time(b - 1), "both" if len(near) == 2 else near[0], min(lowest.values())
            )
        )
    return out


def standing_still(body: Body) -> list[Event]:
    """Upright, and nothing moves by itself: a body that slides along slowly as a whole stands. amount: seconds."""
    limits = body.limits
    pelvis = smooth(body.joints[:, PELVIS], 0.2, body.fps)
    limbs = (HEAD, *WRIST.values(), *ANKLE.values())
    curves = [pelvis, *(smooth(body.joints[:, j], 0.2, body.fps) - pelvis for j in limbs)]
    speeds = [np.linalg.norm(rate(curve, body.fps), axis=-1) for curve in curves]
    bounces = [np.abs(rate(body.joints[:, j, 1], body.fps)) for j in (PELVIS, *ANKLE.values())]
    calm = (
        (np.max(bounces, axis=0) < 1.5 * limits.still_speed * body.pace)
        & (np.max(speeds, axis=0) < limits.still_speed * body.pace)
        & (body.lift > -0.2 * body.size)
        & (body.upright > 0.8)
    )
    return [Event("stand", body.time(a), body.time(b - 1), "", (b - a) / body.fps)
            for a, b in spans(calm, body.fps, limits.still_least, 0.1)]  # fmt: skip
