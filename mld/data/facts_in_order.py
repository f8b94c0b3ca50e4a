"""What a motion does, one thing after the other, out of its measured events: only what is beyond doubt.

Amounts are kept a margin above the limits of `mld.motion.facts`, and what an event means rather than shows (waving,
clapping, punching, throwing, sitting) is taken only where a sentence of the clip says so, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mld.motion.facts.event import Event

LONGEST = 4  # things in a row that a sentence can tell
ANGLES, TOLERANCE = (45, 90, 135, 180, 270, 360), 16.0  # degrees
TRAVEL, TRAVEL_SECONDS, TURN = 0.7, 0.8, 45.0  # metres, seconds, degrees
SLOW, FAST = 0.65, 1.5  # m/s of a walk
CURVE = 50.0  # degrees/s: faster is no curve
UNCLEAR = "unclear"
TURNS = "(?:turn|veer|pivot|circle|curv|corner|spin)"
SAYS = {
    "sit": r"\b(?:sit|seat|stool|chair|bench)", "wave": r"\bwav", "clap": r"\bclap|\bapplau",
    "punch": r"\bbox|\bpunch|\bjab|\bhook|\buppercut|\bfight", "throw": r"\bthrow|\bpitch|\bpass",
    "kick": r"\bkick|mawashi", "bend": r"\bbow|\bbend|\blean|\bpick|\breach",
    "hop": r"\bhop|\bone (?:leg|foot)|\b(?:left|right) (?:leg|foot)",
}  # fmt: skip
# Clips about these are not told by the way that somebody goes or turns meanwhile: that would be the smaller half.
ACTIVITY = re.compile(
    r"\b(?:danc|salsa|ballet|box|punch|fight|spar|tennis|table|paddle|racket|ball|basket|opponent|golf|swim|climb|ladder|"
    r"stair|mime|imitat|pretend|act(?:s|ing)?\b|like an?\b|mop|sweep|wash|wip|clean|scrub|karate|kata|martial|kung|"
    r"sword|fenc|push|shov|balance|stagger|jack|cartwheel|somersault|roll|gymnas|acrobat|slope|uneven|terrain|stumbl|"
    r"pos(?:e|es|ing)\b|throw|catch|carr|lift|exercis|stretch|signal|traffic|gestur|talk|laugh|drink|eat|play|zombie|"
    r"drunk|twist|crawl|kneel|obstacle|over something|skip|hula|cyc|rid)",
    re.IGNORECASE,
)
LEAST = {"squat": 0.25, "bend": 45.0, "overhead": 0.4, "raise_hand": 0.12, "jump": 0.08, "hop": 0.05, "kick": 0.25,
         "leg_up": 0.4, "knee_raise": 0.28, "one_leg": 1.5, "lie": 1.0, "kneel": 0.8}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What is kept of a clip's facts. turned: degrees from the first frame to the last, left above 0."""

    seconds: float
    turned: float
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Part:
    """One thing. kind: of the phrases. angle (degrees), metres, steps: 0 where not known. pace: "slow", "normal" or
    "fast"."""

    kind: str
    start: float
    end: float
    side: str = ""
    angle: int = 0
    metres: float = 0.0
    steps: int = 0
    count: int = 1
    pace: str = "normal"
    gentle: bool = True  # of a turn on the way: a curve, not a corner


def parts_of(measured: Measured, said: str) -> tuple[Part, ...]:
    """At most `LONGEST` things in their order, none where there are more. said: the clip's own sentences."""
    events = measured.events
    turns = [e for e in events if e.name == "turn" and abs(e.amount) >= TURN]
    travels = [e for e in events if e.name in ("walk", "run", "walk_backward", "side_step")]
    if any(0.6 * TRAVEL <= e.amount < TRAVEL for e in travels):
        return ()  # too much to be left out, too little to be sure of
    travels = [e for e in travels if e.amount >= TRAVEL and e.seconds >= TRAVEL_SECONDS]
    steps = [e for e in events if e.name == "step" and e.amount > 0.12]
    straight = sum(abs(e.amount) for e in events if e.name == "turn") < 20 and abs(measured.turned) < 20
    found = [_travel(e, turns, steps, straight and len(travels) == 1) for e in travels]
    found += [_turn(e) for e in turns if not any(_inside(e, travel) for travel in travels)]
    found += list(_single(events, said, travels))
    found.sort(key=lambda part: (part.start, part.end))
    found = _merged(found)
    if not 0 < len(found) <= LONGEST or any(part.kind == UNCLEAR for part in found):
        return ()
    waits = [e for e in events if e.name == "stand" and e.start < 0.3 and e.seconds >= 1.0]
    if waits and waits[0].end <= found[0].start + 0.5 and len(found) < LONGEST:
        found.insert(0, Part("stand", 0.0, waits[0].end))
    return tuple(found)


def stops(measured: Measured, parts: Sequence[Part]) -> bool:
    """Whether it ends by standing still after having gone somewhere."""
    still = [e for e in measured.events if e.name == "stand" and e.seconds >= 0.8]
    if not parts or not still or still[-1].end < measured.seconds - 0.3:
        return False
    return parts[-1].kind.startswith(("walk", "run", "side")) and still[-1].start >= parts[-1].end - 0.8


def ends_facing(measured: Measured) -> str:
    """"back", "same" (after turns), "left", "right", or "" where it is none of these clearly."""
    angle = math.remainder(measured.turned, 360)
    turned = sum(abs(e.amount) for e in measured.events if e.name == "turn")
    if abs(angle) >= 160:
        return "back"
    if 70 <= abs(angle) <= 110:
        return "left" if angle > 0 else "right"
    return "same" if abs(angle) <= 20 and turned >= 90 else ""


def contradicts(parts: Iterable[Part], said: str) -> bool:
    """Whether sentences tell of turns to one side only, and the facts of turns to the other only."""
    told = {side for side in ("left", "right")
            if re.search(rf"\b{TURNS}\w*\b[^.,;]*\b{side}\b|\b{side}\b turn", said)}  # fmt: skip
    shown = {part.side for part in parts if part.angle or "turn" in part.kind or "circle" in part.kind}
    return len(told) == 1 == len(shown) and told != shown


def nearest_angle(degrees: float) -> int:
    """The angle in words that it is, 0 where it is none of them."""
    best = min(ANGLES, key=lambda angle: abs(abs(degrees) - angle))
    return best if abs(abs(degrees) - best) <= TOLERANCE else 0


def _inside(event: Event, other: Event) -> bool:
    return other.start <= event.middle <= other.end


def _travel(event: Event, turns: Sequence[Event], steps: Sequence[Event], straight: bool) -> Part:
    inside = [turn for turn in turns if _inside(turn, event)]
    taken = sum(_inside(step, event) for step in steps)
    speed = event.amount / max(event.seconds, 0.1)
    pace = "slow" if speed < SLOW else "fast" if speed > FAST else "normal"
    part = Part(event.name, event.start, event.end, event.side, 0, event.amount, taken, 1, pace)
    if not inside:
        return replace(part, kind=f"{event.name}_straight") if straight and event.name != "side_step" else part
    gentle = all(abs(turn.amount) <= CURVE * turn.seconds for turn in inside)
    angle = sum(turn.amount for turn in inside)
    same = all(turn.amount * angle > 0 for turn in inside)
    if event.name == "side_step" or not same or (abs(angle) > 300 and not gentle):
        return replace(part, kind=UNCLEAR)  # to and fro, or turns on the way whose place in the order is open
    if abs(angle) < 60:
        return replace(part, metres=0.0)
    side = "left" if angle > 0 else "right"
    if abs(angle) > 300:
        return replace(part, kind=f"{event.name}_circle", side=side, metres=0.0, steps=0)
    part = replace(part, kind=f"{event.name}_turning", side=side, angle=nearest_angle(angle), gentle=gentle)
    return replace(part, metres=0.0, steps=0)


def _turn(event: Event) -> Part:
    kind = "turn_around" if 155 <= abs(event.amount) <= 205 else "turn"
    return Part(kind, event.start, event.end, "left" if event.amount > 0 else "right", nearest_angle(event.amount))


def _single(events: Sequence[Event], said: str, travels: Sequence[Event]) -> Iterable[Part]:
    """Everything but travels and turns."""
    low = [e for e in events if e.name in ("squat", "sit", "kneel", "lie")]
    for event in events:
        kind, side = event.name, event.side
        if kind == "bend" and any(_near(event, e) for e in low):
            continue  # nobody goes down upright
        if kind in SAYS and kind not in ("kick", "bend") and not re.search(SAYS[kind], said):
            continue
        if kind in ("jump", "hop") and event.amount >= LEAST[kind]:
            named, of = ("hop", side) if kind == "hop" else (f"jump_{event.way or 'up'}", "")
            yield Part(named, event.start, event.end, of)
        elif kind == "kick" and side != "both" and re.search(SAYS["kick"], said) and event.amount >= LEAST["kick"]:
            yield Part("kick", event.start, event.end, side)
        elif kind == "kick" and side != "both" and event.amount >= LEAST["leg_up"]:
            yield Part("leg_up", event.start, event.end, side)
        elif kind == "knee_raise" and event.amount >= LEAST[kind] and not any(_inside(event, e) for e in travels):
            yield Part("knee_up", event.start, event.end, side)
        elif kind in ("squat", "bend") and event.amount >= LEAST[kind]:
            yield Part(kind, event.start, event.end)
        elif kind in ("one_leg", "lie", "kneel") and event.seconds >= LEAST[kind]:
            yield Part(kind, event.start, event.end, side if kind == "one_leg" else "")
        elif kind in ("overhead", "raise_hand") and event.amount >= LEAST[kind] and event.seconds >= 0.5:
            within = kind == "raise_hand" and any(e.name == "overhead" and _near(e, event) for e in events)
            if not within:
                yield Part(kind, event.start, event.end, side)
        elif kind in ("sit", "wave", "clap", "punch", "throw") and (kind not in ("wave", "clap") or event.count >= 2):
            yield Part(kind, event.start, event.end, side)


def _near(one: Event, other: Event) -> bool:
    return one.start < other.end + 0.2 and other.start < one.end + 0.2


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Neighbours of one kind and side as one thing. What is counted is counted, ways are added, steps as well."""
    out: list[Part] = []
    counted: Callable[[str], bool] = lambda kind: kind.startswith(("jump", "hop", "squat", "kick"))  # noqa: E731
    for part in parts:
        last = out[-1] if out else None
        if last is None or (last.kind, last.side) != (part.kind, part.side) or part.kind.startswith("turn"):
            out.append(part)
        elif part.kind == UNCLEAR:
            continue
        elif counted(part.kind):
            out[-1] = replace(last, end=part.end, count=last.count + 1)
        else:
            out[-1] = replace(last, end=max(last.end, part.end), metres=0.0, steps=0, angle=0)
    return out
