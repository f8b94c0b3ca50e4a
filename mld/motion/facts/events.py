"""All events of a motion, and what their amounts mean."""

from __future__ import annotations

from mld.motion.facts import air, arms, gait, head, legs, posture
from mld.motion.facts.body import Body
from mld.motion.facts.event import Event

# Name of an event: what its amount is. `way` and `side` are as the detectors' docstrings say.
EVENTS = {
    "walk": "metres",
    "run": "metres",
    "walk_backward": "metres",
    "side_step": "metres (side)",
    "turn": "degrees, left above 0 (side)",
    "step": "metres (side)",
    "march": "metres the knees are lifted (count: steps)",
    "jump": "metres up (way)",
    "hop": "metres up (side: the foot; way)",
    "leap": "metres up (side: the foot it leaves)",
    "stride": "metres up (side)",
    "jumping_jack": "0 (count)",
    "kick": "metres of the ankle over standing (side, way)",
    "knee_raise": "metres of the knee over standing (side)",
    "one_leg": "seconds (side: the leg that stands)",
    "squat": "metres down",
    "lunge": "metres down (side: the foot ahead)",
    "sit": "metres down",
    "kneel": "seconds (side: the knee on the floor)",
    "lie": "seconds",
    "bow": "degrees forward",
    "bend": "degrees forward, and low",
    "lean": "degrees (side, or way: backward)",
    "hand_low": "metres over the floor (side)",
    "stand": "seconds",
    "raise_hand": "metres over the shoulder (side)",
    "overhead": "metres over the shoulder (side)",
    "arm_out": "seconds (side)",
    "arm_front": "seconds (side)",
    "wave": "metres of swing (side, count: cycles)",
    "clap": "metres between the wrists (count)",
    "punch": "m/s (side)",
    "throw": "m/s (side)",
    "arm_circle": "metres across (side, count, way)",
    "hand_hip": "seconds (side)",
    "hand_head": "seconds (side)",
    "hand_knee": "seconds (side)",
    "look": "degrees (side)",
    "nod": "degrees (count)",
}


def detect(body: Body) -> tuple[Event, ...]:
    """Every event of a motion, in order of the start."""
    flights = air.flights(body)
    taken = gait.steps(body, flights)
    kicked, struck = legs.kicks(body), arms.blows(body, flights)
    found = [
        *flights, *air.jumping_jacks(body, flights),
        *gait.travels(body, flights), *gait.turns(body), *taken, *gait.on_the_spot(body, taken),
        *kicked, *legs.knee_raises(body, kicked, flights), *legs.on_one_leg(body),
        *posture.low_postures(body, flights), *posture.bends(body, flights),
        *posture.low_hands(body), *posture.standing_still(body),
        *arms.raised_hands(body), *arms.held_out(body), *arms.waves(body, struck), *arms.claps(body), *struck,
        *arms.circles(body, flights), *arms.touches(body), *head.looks(body), *head.nods(body),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda event: (event.start, event.end, event.name)))
