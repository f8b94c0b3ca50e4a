"""Off the ground: jumps, hops, leaps, and the strides of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.motion.facts.body import ANKLE, HEAD, PELVIS, WRIST, Body
from mld.motion.facts.event import SIDES, Event
from mld.motion.facts.signals import peaks, smooth

WINDOW = 0.6  # s before and after the top in which the feet leave and land
NEAR_TOP = 0.1  # s around the top in which both feet are off; in a shorter flight two frames of 20 a second decide
EDGE = 0.05  # s before and after a flight in which a foot still pushes, and takes the weight
JACK = 0.2  # s around the widest moment of a jumping jack in which feet and hands are looked at


def flights(body: Body) -> list[Event]:
    """Every flight: "jump" (both feet leave and land together), "hop" (one foot, side), "leap" (from one foot to the
    other, long),
    "stride" (of a run). amount: metres that the pelvis rises from take-off to the top; way: where it goes.
    """
    limits, size = body.limits, body.size
    height = smooth(body.joints[:, PELVIS, 1], 0.03, body.fps)
    low = {side: body.clearance(side) < limits.contact * size for side in SIDES}
    out = []
    for top in peaks(height, body.fps, limits.flight_rise * size * 0.6, apart=0.2):
        around = _around(body, top, NEAR_TOP)
        if all(low["left"][f] or low["right"][f] for f in around):
            continue
        found = _flight(body, top, low, height)
        if found:
            out.append(found)
    return out


def _flight(body: Body, top: int, low: dict[str, np.ndarray], height: np.ndarray) -> Event | None:
    limits, fps = body.limits, body.fps
    free = [f for f in _around(body, top, NEAR_TOP) if not low["left"][f] and not low["right"][f]]
    a, b = min(free), max(free)
    while a > 0 and not low["left"][a - 1] and not low["right"][a - 1]:
        a -= 1
    while b < body.frames - 1 and not low["left"][b + 1] and not low["right"][b + 1]:
        b += 1
    seconds = (b - a + 1) / fps
    if seconds > 1.2:
        return None  # hangs, sits with raised feet, lies: not a flight
    left, right = (
        {when: _touch(low[side], frame, step, fps) for when, frame, step in (("off", a - 1, -1), ("on", b + 1, 1))}
        for side in SIDES
    )
    off_at, on_at = _edges(body, a, b)
    rise = float(height[top] - min(height[off_at], height[on_at]))
    # 9.81 t^2 / 8 is the rise of a flight of t seconds
    event = Event(
        "jump", body.time(a), body.time(b), "both", max(rise, 9.81 * seconds**2 / 8 * 0.5), 1, _way(body, a, b)
    )
    off, on = abs(left["off"] - right["off"]), abs(left["on"] - right["on"])
    if off <= limits.together and on <= 1.5 * limits.together:
        return event if _dips(body, height, a, top) or rise > limits.flight_rise * body.size else None
    if not off or not on:  # to the frame together at one end: which foot is first cannot be said
        return event if seconds > 0.3 and rise > limits.flight_rise * body.size else None
    first = "left" if left["off"] < right["off"] else "right"
    then = "left" if left["on"] < right["on"] else "right"
    if first == then and off > 1.2 * limits.together and on > 1.2 * limits.together:
        return replace(event, name="hop", side=first)
    if seconds >= limits.leap_seconds:
        return replace(event, name="leap", side=first)
    if first != then:
        return replace(event, name="stride", side=first)
    return event if seconds > 0.3 and rise > limits.flight_rise * body.size else None


def _around(body: Body, frame: int, seconds: float) -> range:
    """Frames so many seconds before and after one."""
    reach = max(1, round(seconds * body.fps))
    return range(max(0, frame - reach), min(body.frames, frame + reach + 1))


def _edges(body: Body, a: int, b: int) -> tuple[int, int]:
    """The frames at which a flight from frame a to b was pushed off, and lands."""
    away = max(1, round(EDGE * body.fps))
    return max(0, a - away), min(body.frames - 1, b + away)


def _touch(low: np.ndarray, frame: int, step: int, fps: float) -> float:
    """Seconds from a frame to the next one on which a foot stands, going by `step`; `WINDOW` at most."""
    for away in range(round(WINDOW * fps)):
        if not 0 <= frame + step * away < len(low):
            return away / fps
        if low[frame + step * away]:
            return away / fps
    return WINDOW


def _dips(body: Body, height: np.ndarray, off: int, top: int) -> bool:
    """Whether the knees bend before the flight: a shuffle or a jitter of the floor does without."""
    before = height[max(0, off - round(0.6 * body.fps)) : off + 1]
    return bool(len(before) and height[top] - before.min() > 1.6 * body.limits.flight_rise * body.size)


def _way(body: Body, a: int, b: int) -> str:
    """Where a flight goes: "up", or the side of the body that it goes to."""
    a, b = _edges(body, a, b)
    gone = (body.joints[b, PELVIS] - body.joints[a, PELVIS]) * [1.0, 0.0, 1.0]
    ahead, aside = float(gone @ body.ahead[a]), float(gone @ body.aside[a])
    if max(abs(ahead), abs(aside)) < 0.12 * body.size:
        return "up"
    if abs(ahead) >= abs(aside):
        return "forward" if ahead > 0 else "backward"
    return "left" if aside > 0 else "right"


def jumping_jacks(body: Body, leaps: list[Event]) -> list[Event]:
    """Jumping jacks: feet jump apart and together while both hands go up and down. count: of whole ones."""
    width = np.abs(body.local(ANKLE["left"])[:, 0] - body.local(ANKLE["right"])[:, 0])
    over = np.minimum(body.joints[:, WRIST["left"], 1], body.joints[:, WRIST["right"], 1]) - body.joints[:, HEAD, 1]
    spread = smooth(width / body.size + 0.5 * over / body.size, 0.05, body.fps)
    near = {p: list(_around(body, p, JACK)) for p in peaks(spread, body.fps, 0.35, apart=0.4)}
    found = [
        p for p, at in near.items() if width[at].max() > 0.4 * body.size and over[at].max() > -0.05 * body.size
    ]
    if not found or not leaps:
        return []
    return [Event("jumping_jack", body.time(found[0]) - 0.4, body.time(found[-1]) + 0.4, "both", 0.0, len(found))]
