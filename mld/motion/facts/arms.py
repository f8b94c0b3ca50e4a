"""Hands and arms: raised, held out, waving, clapping, punching, circling, touching the body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from mld.motion.facts.body import ELBOW, HEAD, HIP, KNEE, SHOULDER, WRIST, Body
from mld.motion.facts.event import SIDES, Event, both_sides
from mld.motion.facts.signals import Array, Span, grow, peaks, rate, smooth, spans, turning_points

IN_TURN = 0.9  # s between two arms that are raised one after the other
BOX_SMOOTHING = 0.6  # s: what a hand does around its slow movement


def raised_hands(body: Body) -> list[Event]:
    """ "raise_hand": a wrist over its shoulder; amount: metres over the shoulder at the most. "overhead": over the
    head."""
    limits, size = body.limits, body.size
    margin = limits.raise_margin * size

    def over(joint: dict[str, int] | int, name: str, margin: float) -> list[Event]:
        def found(side: str) -> list[Event]:
            base = joint if isinstance(joint, int) else joint[side]
            rise = body.joints[:, WRIST[side], 1] - body.joints[:, base, 1]
            shown = body.joints[:, WRIST[side], 1] - body.joints[:, SHOULDER[side], 1]
            up = spans((rise > margin) & (body.upright > 0.3), body.fps, limits.raise_least, 0.2)
            return [Event(name, body.time(a), body.time(b - 1), side, float(shown[a:b].max()), 1, "up") for a, b in up]

        return both_sides(found, 0.6, IN_TURN)

    return [*over(SHOULDER, "raise_hand", margin), *over(HEAD, "overhead", limits.overhead * size)]


def held_out(body: Body) -> list[Event]:
    """ "arm_out" (to the side) and "arm_front": a rather straight arm near the height of the shoulder. amount:
    seconds."""
    limits = body.limits

    def out(side: str, name: str) -> list[Event]:
        hand = body.local(WRIST[side], SHOULDER[side]) / max(body.arm, 1e-6)
        sideways = hand[:, 0] * (1.0 if side == "left" else -1.0)
        towards, across = (sideways, hand[:, 2]) if name == "arm_out" else (hand[:, 2], sideways)
        straight = (body.reach(side) > limits.straight_arm) & (np.abs(hand[:, 1]) < limits.arm_level)
        held = straight & (towards > 0.68) & (np.abs(across) < towards)
        return [Event(name, body.time(a), body.time(b - 1), side, (b - a) / body.fps)
                for a, b in spans(held, body.fps, 0.3, 0.2)]  # fmt: skip

    return [e for name in ("arm_out", "arm_front") for e in both_sides(partial(out, name=name), 0.6, IN_TURN)]


def waves(body: Body, blows: Iterable[Event]) -> list[Event]:
    """A hand held up that goes to and fro, twice or more, and does not strike. count: cycles; amount: mean swing in
    metres."""
    size = body.size

    def found(side: str) -> list[Event]:
        wrist, own = body.local(WRIST[side], SHOULDER[side]), body.on_torso(WRIST[side], SHOULDER[side])
        up = (wrist[:, 1] > -0.12 * size) & (
            body.joints[:, WRIST[side], 1] > body.joints[:, ELBOW[side], 1] - 0.05 * size
        )
        out = []
        for a, b in spans(up & (body.upright > 0.5), body.fps, 0.6, 0.25):
            count, first, last, swing = _cycles(body, own[a:b, 0])
            if (
                count < 2 and wrist[a:b, 1].mean() > 0.1 * size
            ):  # a hand over the shoulder may wave to the front and back
                count, first, last, swing = _cycles(body, own[a:b, 2])
            if count >= 2:
                out.append(Event("wave", body.time(a + first), body.time(a + last), side, swing, int(count)))
        return out

    struck = list(blows)
    waved = both_sides(found, 0.5)
    return [w for w in waved if sum(w.start < b.middle < w.end and w.side in (b.side, "both") for b in struck) < 2]


def _cycles(body: Body, curve: Array) -> tuple[float, int, int, float]:
    """To and fro of a curve (T,) at the rate of a wave: cycles, first and last frame, mean swing. The longest row of
    them."""
    limits = body.limits
    quick = curve - smooth(curve, BOX_SMOOTHING, body.fps)
    points = turning_points(quick, limits.wave_swing * body.size)
    slowest, fastest = (body.fps / (2 * hertz) for hertz in limits.wave_rate)
    best, row = (0.0, 0, 0, 0.0), points[:1]
    for point in [*points[1:], -1]:  # -1 closes the last row
        swing = abs(quick[point] - quick[row[-1]])
        if point >= 0 and fastest * 0.5 <= point - row[-1] <= slowest and swing >= limits.wave_swing * body.size:
            row.append(point)
            continue
        count = (len(row) - 1) / 2
        if count > best[0]:
            best = (count, row[0], row[-1], float(np.mean(np.abs(np.diff(quick[row])))))
        row = [point]
    return best


def claps(body: Body) -> list[Event]:
    """Wrists that meet and part. count: how often they meet in a row; amount: metres between them when they meet."""
    limits, size = body.limits, body.size
    apart = np.linalg.norm(body.joints[:, WRIST["left"]] - body.joints[:, WRIST["right"]], axis=-1)
    high = np.minimum(body.height(WRIST["left"]), body.height(WRIST["right"])) > 0.75 * body.standing
    met = [f for f in peaks(-apart, body.fps, limits.clap_open * size, apart=0.15)
           if apart[f] < limits.clap_near * size and high[f]]  # fmt: skip
    rows: list[list[int]] = []
    for frame in met:
        if rows and frame - rows[-1][-1] < 1.2 * body.fps:
            rows[-1].append(frame)
        else:
            rows.append([frame])
    return [
        Event("clap", body.time(row[0]) - 0.15, body.time(row[-1]) + 0.15, "both", float(apart[row].mean()), len(row))
        for row in rows
    ]


def blows(body: Body, flights: Iterable[Event]) -> list[Event]:
    """ "punch": a bent arm that shoots out ahead, at the height of belly to head; "throw": a hand that comes from
    behind and over the shoulder, or from behind and below, or both hands from the chest. One event per blow; the swing
    of the arms in a jump is none. amount: m/s at the most.
    """
    leaps = [f for f in flights if f.name in ("jump", "leap", "hop")]
    out = []
    for side in SIDES:
        for event in _blows_of(body, side):
            if not any(f.start - 0.7 < event.middle < f.end + 0.4 for f in leaps):
                out.append(event)
    return sorted(_passed(out), key=lambda event: event.start)


def _blows_of(body: Body, side: str) -> list[Event]:
    limits, out = body.limits, []
    fist, reach = body.local(WRIST[side], SPINE_TOP), body.reach(side)
    ahead = smooth(fist[:, 2], 0.03, body.fps) / max(body.arm, 1e-6)
    speed = rate(fist[:, 2], body.fps)
    shoulder = body.local(SHOULDER[side], SPINE_TOP)[:, 1]
    for peak in peaks(ahead, body.fps, limits.punch_reach, apart=0.2):
        before = max(0, peak - round(0.4 * body.fps))
        fastest = float(speed[before : peak + 1].max())
        if fastest < limits.punch_speed * body.pace or ahead[peak] < 0.45:
            continue
        drawn = slice(max(0, peak - round(0.8 * body.fps)), peak + 1)
        swung = slice(max(0, peak - round(1.1 * body.fps)), peak + 1)
        back = bool(((fist[drawn, 1] > shoulder[drawn]) & (ahead[drawn] < 0.1)).any())
        straightens = reach[peak] - reach[before : peak + 1].min() >= limits.punch_stretch
        low = fist[peak, 1] < shoulder[peak] - limits.punch_low * body.arm or reach[peak] < 0.55
        name = ""
        if straightens and not low:
            name = "throw" if back and fastest > limits.throw_speed * body.pace else "punch"
        elif fastest > 0.7 * limits.throw_speed * body.pace and _underarm(body, side, ahead, swung):
            name = "throw"
        if name:
            a, b = grow(ahead, peak, ahead[peak] - 0.7 * limits.punch_reach)
            out.append(Event(name, body.time(a), body.time(b - 1), side, fastest, 1, "forward"))
    return out


def _underarm(body: Body, side: str, ahead: Array, drawn: slice) -> bool:
    """Whether a hand swings from behind the body to its front while the other one does not and the body stays."""
    other = body.local(WRIST["right" if side == "left" else "left"], SPINE_TOP)[drawn, 2] / max(body.arm, 1e-6)
    swing = np.ptp(ahead[drawn])
    still = body.speed[drawn].max() < 2 * body.limits.low_speed * body.pace
    return bool(still and ahead[drawn].min() < -0.25 and np.ptp(other) < 0.6 * swing)


def _passed(found: list[Event]) -> list[Event]:
    """Two hands that shoot out as one throw, they do not punch."""
    left, right = ([e for e in found if e.side == side] for side in SIDES)
    for one in left:
        twin = next((other for other in right if abs(other.middle - one.middle) < 0.15), None)
        if twin is not None:
            right.remove(twin)
            found = [e for e in found if e is not one and e is not twin]
            found.append(replace(one, name="throw", side="both", amount=max(one.amount, twin.amount)))
    return found


SPINE_TOP = 9


def circles(body: Body, flights: Iterable[Event]) -> list[Event]:
    """Arms that go around. count: whole circles; amount: metres across; way: "forward" or "backward" over the top, ""
    where
    the circles lie in another plane. The swing of the arms in a jump is none."""
    leaps = [f for f in flights if f.name in ("jump", "leap")]

    def found(side: str) -> list[Event]:
        hand = body.local(WRIST[side], SHOULDER[side])
        best: list[Event] = []
        for axes in ((2, 1), (0, 1), (0, 2)):
            events = [_circle(body, side, hand[:, axes], axes, span) for span in _round(body, hand[:, axes])]
            kept = [e for e in events if e is not None and not any(e.start < f.middle < e.end for f in leaps)]
            best = max(best, kept, key=lambda many: sum(e.count for e in many))
        return best

    return both_sides(found, 0.5)


def _round(body: Body, path: Array) -> list[Span]:
    speed = np.linalg.norm(rate(smooth(path, 0.05, body.fps), body.fps), axis=-1)
    return spans(speed > body.limits.circle_speed * body.pace, body.fps, 0.5, 0.12)


def _circle(body: Body, side: str, path: Array, axes: tuple[int, int], span: Span) -> Event | None:
    a, b = span
    velocity = rate(smooth(path, 0.08, body.fps), body.fps)[a:b]
    bend = np.diff(np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0])))
    turned = float(bend.sum()) / (2 * np.pi)
    if abs(turned) < body.limits.circle_least or np.mean(np.sign(bend) == np.sign(turned)) < 0.8:
        return None
    across = float(np.ptp(path[a:b], axis=0).min())
    if across < 0.12 * body.size or body.reach(side)[a:b].mean() < body.limits.circle_reach:
        return None
    way = ("forward" if turned < 0 else "backward") if axes == (2, 1) else ""
    return Event("arm_circle", body.time(a), body.time(b - 1), side, across, round(abs(turned)), way)


def touches(body: Body) -> list[Event]:
    """Hands that rest on the body: "hand_hip", "hand_head", "hand_knee" (side). amount: seconds."""
    size = body.size

    def near(name: str, targets: dict[str, int], distance: float, side: str) -> list[Event]:
        wrist = body.joints[:, WRIST[side]]
        gaps = [np.linalg.norm(wrist - body.joints[:, target], axis=-1) for target in targets.values()]
        held = np.minimum.reduce(gaps) < distance * size
        if name == "hand_head":  # not before the mouth
            held &= wrist[:, 1] > body.joints[:, HEAD, 1] - 0.02 * size
        if name == "hand_hip":
            held &= body.reach(side) < 0.9
            held &= body.joints[:, ELBOW[side], 1] > body.joints[:, WRIST[side], 1] - 0.02 * size
        return [Event(name, body.time(a), body.time(b - 1), side, (b - a) / body.fps)
                for a, b in spans(held, body.fps, 0.4, 0.2)]  # fmt: skip

    table: Iterable[tuple[str, dict[str, int], float]] = (
        ("hand_hip", HIP, 0.26), ("hand_head", {"": HEAD}, 0.24), ("hand_knee", KNEE, 0.26),
    )  # fmt: skip
    return [e for name, targets, far in table for e in both_sides(partial(near, name, targets, far))]
