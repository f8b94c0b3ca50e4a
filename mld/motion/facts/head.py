"""The head: turned to a side, nodding, shaking."""

from __future__ import annotations

import numpy as np

from mld.motion.facts.body import HEAD, NECK, SHOULDER, WRIST, Body
from mld.motion.facts.event import Event
from mld.motion.facts.signals import grow, peaks_and_ends, smooth, turning_points

LEANS = 18.0  # degrees that the head joint is aside: farther is a head that leans to the shoulder
HEAD_GOES_ASIDE = 4.0  # degrees that a head is turned by per degree that its joint goes aside (2 cm ahead of 10 cm up)


def looks(body: Body) -> list[Event]:
    """ "look": head or shoulders turned against the hips. amount: degrees.

    Joints alone show a turned head by little: the head joint is a few centimetres ahead of the neck and goes aside.
    """
    yaw = smooth(head_yaw(body), 0.1, body.fps)
    out = []
    for side, curve in (("left", yaw), ("right", -yaw)):
        for peak in peaks_and_ends(
            curve, body.fps, 0.6 * body.limits.head_angle, apart=0.3, height=body.limits.head_angle
        ):
            a, b = grow(curve, peak, 0.5 * curve[peak])
            out.append(Event("look", body.time(a), body.time(b - 1), side, float(curve[peak])))
    return sorted(out, key=lambda event: event.start)


def head_yaw(body: Body) -> np.ndarray:
    """About the degrees (T,) that the head is turned against the hips, to the left above 0; shoulders count half.

    0 where the trunk leans or a hand is up: there the head joint goes aside as well."""
    head = body.on_torso(HEAD, NECK)
    aside = np.degrees(np.arctan2(head[:, 0], np.maximum(head[:, 1], 1e-3)))
    across = body.local(SHOULDER["left"], SHOULDER["right"])
    shoulders = np.degrees(np.arctan2(-across[:, 2], across[:, 0]))
    usual = float(np.clip(np.median(aside), -1.5, 1.5))  # a head may be held askew, or turned for most of the clip
    up = np.maximum(body.joints[:, WRIST["left"], 1], body.joints[:, WRIST["right"], 1]) > body.joints[:, HEAD, 1]
    seen = (np.abs(aside) < LEANS) & (body.upright > 0.93) & ~up
    return np.where(seen, HEAD_GOES_ASIDE * (aside - usual) + 0.5 * shoulders, 0.0)


def nods(body: Body) -> list[Event]:
    """ "nod": the head goes down and up against the upper body. count: how often."""
    pitch = _pitch(body)
    quick = pitch - smooth(pitch, 0.8, body.fps)
    points = turning_points(smooth(quick, 0.05, body.fps), body.limits.nod_angle)
    swings = [
        (a, b)
        for a, b in zip(points, points[1:])
        if quick[b] - quick[a] >= body.limits.nod_angle and b - a < body.fps and body.upright[a : b + 1].min() > 0.9
    ]
    if not swings:
        return []
    first, last = swings[0][0], min(len(pitch) - 1, swings[-1][1] + round(0.3 * body.fps))
    size = float(np.mean([quick[b] - quick[a] for a, b in swings]))
    return [Event("nod", body.time(first), body.time(last), "", size, len(swings))]


def _pitch(body: Body) -> np.ndarray:
    """Degrees (T,) that the head is bent forward against the trunk."""
    head = body.on_torso(HEAD, NECK)
    return np.degrees(np.arctan2(head[:, 2], head[:, 1]))
