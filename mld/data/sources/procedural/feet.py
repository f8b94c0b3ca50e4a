"""Feet that stay where they are put: from footsteps to ankles and toes over time.

A standing foot turns about its toes when the heel leaves the ground and about its heel when it comes down on the heel,
so the part that bears the weight does not move at all. Between two stands the ankle follows a cubic that takes over
position and velocity at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mld.data.sources.procedural.stage import Step, ramp

ANKLE_HEIGHT = 0.055  # over the toe joint, in a foot flat on the ground, m; the toe joint lies at 0
GRAVITY = 9.81


@dataclass
class FootCurves:
    """One foot over time: ankle (T, 3), yaw (T,), pitch (T,), and states (T,) bool.

    standing: some part bears weight. toes_down: the toe joint is planted and must not move. loaded: the foot stands, or
    is thrown through the air together with the body (T,) bool.
    """

    ankle: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    toes_down: np.ndarray
    standing: np.ndarray
    loaded: np.ndarray


def toe_offset(length: float, yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Ankle to toe joint (..., 3) of a foot whose ankle-toe bone has `length` (m); pitch > 0: heel up."""
    reach = np.sqrt(length**2 - ANKLE_HEIGHT**2)
    down = ANKLE_HEIGHT * np.cos(pitch) + reach * np.sin(pitch)
    ahead = reach * np.cos(pitch) - ANKLE_HEIGHT * np.sin(pitch)
    return np.stack([ahead * np.sin(yaw), -down, ahead * np.cos(yaw)], axis=-1)


def foot_curves(t: np.ndarray, first: tuple[float, float, float], steps: list[Step], length: float) -> FootCurves:
    """Evaluate the footsteps of one foot that first stands at (x, z, yaw). `steps` must be in order and not overlap."""
    table = np.array([[first[0], first[1], first[2]], *[[s.x, s.z, s.yaw] for s in steps]], dtype=float)
    lifts = np.array([*[s.lift for s in steps], np.inf])
    lands = np.array([-np.inf, *[s.land for s in steps]])
    off, off_time = _column(steps, "off", last=0.0), _column(steps, "off_time", last=1.0)
    on, on_time = _column(steps, "on", first=0.0), _column(steps, "on_time", first=1.0)
    stand = np.searchsorted(lands, t, side="right") - 1  # the stand that a frame is in, or that its swing comes from
    swing = t >= lifts[stand]

    leave = np.clip((t - lifts[stand]) / off_time[stand] + 1.0, 0.0, 1.0)
    arrive = np.clip(1.0 - (t - lands[stand]) / on_time[stand], 0.0, 1.0)
    rest = np.array([0.0, *[s.rest for s in steps]])
    roll_off, roll_on = off - rest, on - rest
    pitch = rest[stand] + roll_off[stand] * leave**2 + roll_on[stand] * arrive**2
    ankle = _standing_ankle(table[stand], pitch, length)
    yaw = table[stand, 2]
    loaded = ~swing
    if swing.any():
        at, to = stand[swing], stand[swing] + 1
        span = lands[to] - lifts[at]
        loaded[swing] = np.array([step.flight for step in steps])[at]
        u = (t[swing] - lifts[at]) / span
        ends = [
            (table[at], off[at], 2 * roll_off[at] / off_time[at]),
            (table[to], on[to], -2 * roll_on[to] / on_time[to]),
        ]
        yaw = yaw.copy()
        yaw[swing] += (table[to, 2] - table[at, 2]) * ramp(u, 0.0, 1.0)
        pitch[swing] = _hermite(u, span, *[value for end in ends for value in end[1:]])
        ankle[swing] = _swinging_ankle(u, span, ends, length, _bump(u, at, span, steps))
    return FootCurves(ankle, yaw, pitch, ~swing & (pitch >= -1e-6), ~swing, loaded)


def _column(steps: list[Step], name: str, **rest: float) -> np.ndarray:
    """One attribute of all steps (N,), with a value put before the `first` or behind the `last`."""
    values = [getattr(step, name) for step in steps]
    if "first" in rest:
        values = [rest["first"], *values]
    return np.array([*values, rest["last"]] if "last" in rest else values)


def _standing_ankle(place: np.ndarray, pitch: np.ndarray, length: float) -> np.ndarray:
    """Ankle (..., 3) of a foot standing at `place` (..., 3: x, z, yaw), rolled over its toes where pitch > 0."""
    flat = np.stack([place[..., 0], np.full(place.shape[:-1], ANKLE_HEIGHT), place[..., 1]], axis=-1)
    yaw, rolled = place[..., 2], np.maximum(pitch, 0.0)
    return flat + toe_offset(length, yaw, np.zeros_like(rolled)) - toe_offset(length, yaw, rolled)


def _swinging_ankle(u, span, ends, length: float, bump: np.ndarray) -> np.ndarray:
    """Ankle (N, 3) at shares u (N,) of swings that last `span` (N,) s; ends: (place, pitch, pitch speed) at both."""
    points = []
    for place, pitch, speed in ends:
        step = 1e-3
        here = _standing_ankle(place, pitch, length)
        points += [here, (_standing_ankle(place, pitch + step * speed, length) - here) / step]
    ankle = _hermite(u[:, None], span[:, None], *points)
    ankle[:, 1] += bump
    return ankle


def _bump(u: np.ndarray, at: np.ndarray, span: np.ndarray, steps: list[Step]) -> np.ndarray:
    """Extra ankle height: lifted early in a carried swing, a parabola in flight."""
    apex, flight = _column(steps, "apex")[at], np.array([step.flight for step in steps])[at]
    carried = u**2 * (1 - u) ** 3 * 28.94  # highest at 0.4
    return apex * np.where(flight, 4 * u * (1 - u), carried)


def _hermite(u, span, start, start_speed, end, end_speed):
    """The cubic from `start` to `end` over `span` seconds with given speeds at both ends, at shares u."""
    a, b = start_speed * span, end_speed * span
    return start + u * (a + u * (3 * (end - start) - 2 * a - b + u * (2 * (start - end) + a + b)))
