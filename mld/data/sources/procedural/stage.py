"""The stage on which actions play: named curves over time, footsteps, and easing.

A curve (T,) holds one degree of freedom for the whole clip, at its resting value until an action blends something else
in. Weights rise and fall with minimum jerk, so every action starts and stops smoothly and layers on what is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FPS = 20.0
SIDES = ("left", "right")

# Resting values. Metres and radians. Body: `forward`, `left`, `height` move the pelvis off its place over the path;
# `balance` is the share of the way that the pelvis leans over the supporting foot. Above 0, `tilt` leans forward,
# `lean` leans and `twist` turns to the left. Arms: `fwd` and `side` raise the upper arm (pi/2: horizontal), `flex`
# bends the elbow, `turn` > 0 rolls the upper arm inwards, `shrug` lifts the shoulder.
BODY = {
    "x": 0.0, "z": 0.0, "heading": 0.0, "forward": 0.0, "left": 0.0, "height": 0.0, "balance": 0.3,
    "pelvis_tilt": 0.02, "pelvis_lean": 0.0, "pelvis_twist": 0.0, "tilt": 0.0, "lean": 0.0, "twist": 0.0,
    "head_tilt": 0.0, "head_lean": 0.0, "head_twist": 0.0,
}  # fmt: skip
ARM = {"fwd": 0.02, "side": 0.09, "turn": 0.25, "flex": 0.25, "shrug": 0.0}
ARM_LIMITS = {"fwd": (-1.1, 3.1), "side": (-0.6, 3.0), "turn": (-1.8, 1.8), "flex": (0.05, 2.5), "shrug": (-0.1, 0.5)}


@dataclass(frozen=True)
class Step:
    """One foot leaves the ground at `lift` and stands again at `land` (s), its ankle over (x, z), pointing to `yaw`.

    apex: extra height of the ankle half way (m). off, on: pitch of the foot when it leaves and meets the ground (rad,
    above 0: heel up); off_time, on_time: how long it rolls before and after (s). flight: thrown, not carried.
    rest: pitch of the foot where it stands then (rad).
    """

    lift: float
    land: float
    x: float
    z: float
    yaw: float
    apex: float = 0.08
    off: float = 0.3
    on: float = 0.0
    off_time: float = 0.22
    on_time: float = 0.12
    flight: bool = False
    rest: float = 0.0


@dataclass
class Carried:
    """A foot led through the air by hand: `weight` (T,) blends to the ankle at `local` (T, 3), metres (left, up,
    forward) of the body's place on its path, with foot `pitch` (T,)."""

    weight: np.ndarray
    local: np.ndarray
    pitch: np.ndarray


@dataclass
class Style:
    """How one person moves: drawn once per clip."""

    arm_swing: float = 1.0
    bounce: float = 1.0
    stance: float = 0.09  # half the distance between the feet, m
    tilt: float = 0.0
    arm_flex: float = 0.25
    arm_side: float = 0.09
    tempo: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        return cls(
            arm_swing=rng.uniform(0.75, 1.25),
            bounce=rng.uniform(0.8, 1.2),
            stance=rng.uniform(0.075, 0.11),
            tilt=rng.uniform(-0.05, 0.04),
            arm_flex=rng.uniform(0.15, 0.4),
            arm_side=rng.uniform(0.05, 0.12),
            tempo=rng.uniform(0.93, 1.07),
        )


@dataclass
class Stage:
    """Curves, footsteps and carried feet of a clip of `num_frames` frames; it starts at the origin facing +z."""

    num_frames: int
    style: Style = field(default_factory=Style)

    def __post_init__(self) -> None:
        self.t = np.arange(self.num_frames) / FPS
        resting = dict(BODY, tilt=self.style.tilt)
        for side in SIDES:
            arm = dict(ARM, flex=self.style.arm_flex, side=self.style.arm_side)
            resting.update({f"{side}_{name}": value for name, value in arm.items()})
        self.curves = {name: np.full(self.num_frames, value) for name, value in resting.items()}
        self.steps: dict[str, list[Step]] = {side: [] for side in SIDES}
        self.first: dict[str, tuple[float, float, float]] = {}  # where feet stand at first (x, z, yaw), if not at rest
        self.carried: dict[str, list[Carried]] = {side: [] for side in SIDES}

    def blend(self, weight: np.ndarray, **targets) -> None:
        """Move the named curves towards their targets (numbers or (T,) arrays) by `weight` (T,) in 0..1."""
        for name, target in targets.items():
            curve = self.curves[name]
            curve += weight * (target - curve)

    def add(self, **amounts) -> None:
        """Add to the named curves."""
        for name, amount in amounts.items():
            self.curves[name] += amount

    def blend_arm(self, arm: str, weight: np.ndarray, /, **targets) -> None:
        """Blend curves (`ARM`) of one arm, or of both arms where `arm` is "both"."""
        for side in SIDES if arm == "both" else (arm,):
            self.blend(weight, **{f"{side}_{name}": target for name, target in targets.items()})

    def place(self, time: float) -> tuple[float, float, float]:
        """x, z, heading of the path at a time (s)."""
        return tuple(float(np.interp(time, self.t, self.curves[name])) for name in ("x", "z", "heading"))

    def move(self, start: float, forward: np.ndarray, left: np.ndarray, turn: np.ndarray) -> None:
        """Append to the path: distances (T,) covered forward and to the left and angle (T,) turned since `start` (s).

        All three are functions of the whole time line that are constant before `start` and after the end of the action.
        """
        after = self.t > start
        heading = self.curves["heading"] + turn
        middle = heading - np.diff(heading, prepend=heading[0]) / 2
        ahead, aside = np.diff(forward, prepend=forward[0]), np.diff(left, prepend=left[0])
        sin, cos = np.sin(middle), np.cos(middle)
        self.curves["x"] += np.cumsum(np.where(after, sin * ahead + cos * aside, 0.0))
        self.curves["z"] += np.cumsum(np.where(after, cos * ahead - sin * aside, 0.0))
        self.curves["heading"] = heading

    def stand(self, time: float, side: str, width: float | None = None) -> tuple[float, float, float]:
        """Where a foot belongs under the body at a time (s): x, z, yaw."""
        x, z, heading = self.place(time)
        across = (1 if side == "left" else -1) * (self.style.stance if width is None else width)
        toe_out = 0.12 if side == "left" else -0.12
        return (
            x + across * np.cos(heading) - 0.03 * np.sin(heading),
            z - across * np.sin(heading) - 0.03 * np.cos(heading),
            heading + toe_out,
        )


def ramp(t: np.ndarray, start: float, end: float) -> np.ndarray:
    """From 0 at `start` to 1 at `end` along the minimum-jerk curve (Flash and Hogan 1985)."""
    u = np.clip((t - start) / max(end - start, 1e-6), 0.0, 1.0)
    return u**3 * (10 - 15 * u + 6 * u**2)


def window(t: np.ndarray, start: float, end: float, rise: float = 0.5, fall: float | None = None) -> np.ndarray:
    """0 outside start..end (s), 1 inside, rising for `rise` and falling for `fall` seconds with minimum jerk."""
    fall = rise if fall is None else fall
    return ramp(t, start, start + rise) * (1.0 - ramp(t, end - fall, end))


def through(t: np.ndarray, times, values) -> np.ndarray:
    """Minimum-jerk moves from value to value at ascending times; constant before the first and after the last."""
    times, values = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    index = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    u = np.clip((t - times[index]) / np.maximum(times[index + 1] - times[index], 1e-6), 0.0, 1.0)
    return values[index] + (values[index + 1] - values[index]) * u**3 * (10 - 15 * u + 6 * u**2)
