"""On the feet: walking and running in every direction, turns, steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from mld.motion.facts.body import ANKLE, KNEE, Body
from mld.motion.facts.event import SIDES, Event
from mld.motion.facts.signals import Span, peaks, rate, smooth, spans, turning_points

WAYS = ("forward", "left", "backward", "right")
NAMES = {"forward": "walk", "left": "side_step", "backward": "walk_backward", "right": "side_step"}


def travels(body: Body, flights: Iterable[Event]) -> list[Event]:
    """Walks, runs, walks backward and side steps. amount: metres of the path; way: its direction against the body's."""
    limits = body.limits
    moving = body.speed > limits.travel_speed * body.pace
    angle = np.degrees(np.arctan2(body.leftward_speed, body.forward_speed))
    ahead, back = np.abs(angle) <= limits.sector, np.abs(angle) >= 180 - limits.sector
    way = np.where(ahead, 0, np.where(back, 2, np.where(angle > 0, 1, 3)))
    flights = list(flights)
    out = []
    for start, stop in spans(moving, body.fps, least=limits.travel_least, gap=0.6):
        for first, last in _directions(way[start:stop], body.fps, limits.travel_least):
            span = (start + first, start + last)
            path = float(body.speed[slice(*span)].sum() / body.fps)
            strides = [f for f in flights if span[0] <= f.middle * body.fps < span[1]]
            if path < limits.travel_distance * body.size or _jumped(body, span, strides):
                continue
            out += _gaits(body, span, flights, way)
    return out


def _gaits(body: Body, span: Span, flights: list[Event], way: np.ndarray) -> list[Event]:
    """A stretch of one direction as one event, or as several where a walk turns into a run or back."""
    fast = (body.speed[slice(*span)] > body.limits.gait_change * body.pace).astype(int)
    out: list[Event] = []
    for a, b in _directions(fast, body.fps, 1.0):
        part = (span[0] + a, span[0] + b)
        event = _travel(body, part, [f for f in flights if part[0] <= f.middle * body.fps < part[1]], way)
        if out and out[-1].name == event.name:
            out[-1] = replace(out[-1], end=event.end, amount=out[-1].amount + event.amount)
        else:
            out.append(event)
    return out


def _travel(body: Body, span: Span, flights: list[Event], way: np.ndarray) -> Event:
    path = float(body.speed[slice(*span)].sum() / body.fps)
    counts = np.bincount(way[slice(*span)], minlength=4)
    direction = WAYS[int(counts.argmax())]
    name, seconds = NAMES[direction], (span[1] - span[0]) / body.fps
    steady = float(np.percentile(body.speed[slice(*span)], 75)) / body.pace
    strides = sum(f.name == "stride" for f in flights)
    cadence = sum(_lifts(body, side, span) for side in SIDES) / seconds
    bouncing = (strides >= 2 and strides >= seconds) or cadence > body.limits.jog_cadence
    fast = steady > body.limits.run_speed or (bouncing and steady > body.limits.jog_speed)
    if direction == "forward" and (fast or (steady > body.limits.gait_change and _heels(body, span))):
        name = "run"
    side = direction if name == "side_step" else ""
    return Event(name, body.time(span[0]), body.time(span[1] - 1), side, path, 1, direction)


def _heels(body: Body, span: Span) -> bool:
    """Whether the heels swing up as in a run."""
    rise = [np.percentile(body.height(ANKLE[side])[slice(*span)] - body.ankle_height, 95) for side in SIDES]
    return float(np.mean(rise)) > body.limits.heel_rise * body.size


def _jumped(body: Body, span: Span, flights: list[Event]) -> bool:
    """Whether a stretch is nothing but jumps or hops: they are events of their own."""
    leaps = [f for f in flights if f.name != "stride"]
    return bool(leaps) and sum(_lifts(body, side, span) for side in SIDES) <= 2 * len(leaps) + 1


def _lifts(body: Body, side: str, span: Span) -> int:
    """How often a foot leaves the ground in a stretch."""
    height = body.clearance(side) + 0.5 * (body.height(ANKLE[side]) - body.ankle_height)
    return sum(span[0] <= f < span[1] for f in peaks(height, body.fps, 1.3 * body.limits.step_rise * body.size, 0.25))


def _directions(way: np.ndarray, fps: float, least: float) -> list[Span]:
    """Stretches of one direction (T,); those shorter than `least` seconds join the longer neighbour."""
    edges = [0, *(np.flatnonzero(np.diff(way)) + 1).tolist(), len(way)]
    parts = [[int(way[a]), a, b] for a, b in zip(edges, edges[1:])]
    while len(parts) > 1:
        at = min(range(len(parts)), key=lambda number: parts[number][2] - parts[number][1])
        if parts[at][2] - parts[at][1] >= least * fps:
            break
        near = [number for number in (at - 1, at + 1) if 0 <= number < len(parts)]
        into = max(near, key=lambda number: parts[number][2] - parts[number][1])
        parts[into][1] = min(parts[into][1], parts[at][1])
        parts[into][2] = max(parts[into][2], parts[at][2])
        del parts[at]
        parts = _joined(parts)
    return [(a, b) for _, a, b in parts]


def _joined(parts: list[list[int]]) -> list[list[int]]:
    out = [parts[0]]
    for part in parts[1:]:
        if part[0] == out[-1][0]:
            out[-1][2] = part[2]
        else:
            out.append(part)
    return out


def turns(body: Body) -> list[Event]:
    """Turns of the whole body. amount: degrees, to the left above 0; a turn ends where it pauses or turns back."""
    limits = body.limits
    heading = np.degrees(body.facing)
    points = turning_points(heading, limits.turn_reversal)
    out = []
    for start, stop in zip(points, points[1:]):
        speed = np.abs(rate(smooth(heading, 0.15, body.fps), body.fps))[start : stop + 1]
        for first, last in spans(speed > limits.turn_rate, body.fps, gap=limits.turn_pause):
            a, b = start + first, min(start + last, body.frames - 1)
            amount = float(heading[b] - heading[a])
            if abs(amount) >= limits.turn_least:
                out.append(Event("turn", body.time(a), body.time(b), "left" if amount > 0 else "right", amount))
    return out


def steps(body: Body, flights: Iterable[Event]) -> list[Event]:
    """Single steps: a foot leaves the ground and stands again elsewhere. amount: metres that it is put further.

    A foot that is lifted and put back is a step as well, with an amount near 0 ("marches"). Jumps and hops are none.
    """
    limits, out = body.limits, []
    leaps = [f for f in flights if f.name != "stride"]
    for side in SIDES:
        height = body.clearance(side) + 0.5 * (body.height(ANKLE[side]) - body.ankle_height)
        place = smooth(body.joints[:, ANKLE[side]], 0.05, body.fps)
        for peak in peaks(height, body.fps, 1.3 * limits.step_rise * body.size, apart=0.25):
            a, b = _lifted(height, peak)
            way = float(np.linalg.norm((place[b] - place[a])[::2]))
            if not any(f.start - 0.2 <= body.time(peak) <= f.end + 0.2 for f in leaps):
                out.append(Event("step", body.time(a), body.time(b), side, way))
    return sorted(out, key=lambda event: event.start)


def _lifted(height: np.ndarray, peak: int) -> Span:
    """Frames before and after a peak where the foot is down: below a fifth of its height, or where it rises again."""
    a = b = peak
    while a > 0 and not (height[a] < 0.2 * height[peak] and height[a - 1] >= height[a]):
        a -= 1
    while b < len(height) - 1 and not (height[b] < 0.2 * height[peak] and height[b + 1] >= height[b]):
        b += 1
    return a, b


def on_the_spot(body: Body, taken: list[Event]) -> list[Event]:
    """Walking on the spot: four steps or more in a row, of both feet, that lead nowhere and do not turn the body.

    amount: mean height in metres that the knees are lifted.
    """
    put: list[Event | None] = [e for e in taken if e.seconds < 1.6]
    out: list[Event] = []
    run: list[Event] = []
    for event in [*put, None]:
        if event is not None and (not run or event.start - run[-1].end < 0.6):
            run.append(event)
            continue
        if len(run) >= 4 and _nowhere(body, run):
            out.append(
                Event("march", run[0].start, run[-1].end, "", float(np.mean([_knee(body, e) for e in run])), len(run))
            )
        run = [] if event is None else [event]
    return out


def _nowhere(body: Body, run: list[Event]) -> bool:
    a, b = (min(round(t * body.fps), body.frames - 1) for t in (run[0].start, run[-1].end))
    gone = float(np.linalg.norm((body.root[b] - body.root[a])[::2])) / (run[-1].end - run[0].start)
    away = float(np.linalg.norm((body.root[a : b + 1] - body.root[a])[:, ::2], axis=-1).max())
    turned = abs(np.degrees(body.facing[b] - body.facing[a]))
    left = sum(e.side == "left" for e in run)
    return gone < 0.2 * body.pace and away < 0.8 * body.size and turned < 45 and 0.3 <= left / len(run) <= 0.7


def _knee(body: Body, step: Event) -> float:
    a, b = round(step.start * body.fps), round(step.end * body.fps)
    knee = body.height(KNEE[step.side])
    return float(knee[a : b + 1].max() - np.percentile(knee, 10))
