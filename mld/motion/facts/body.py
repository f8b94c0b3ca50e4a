"""`Body`: what can be measured frame by frame on joints: floor, facing, path, heights of hands and feet
against the body.

Nothing is assumed of the clip: it may start anywhere, face anywhere, crouch or lie all along, and slide on its feet.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.ndimage import minimum_filter1d

from mld.motion.facts.signals import Array, rate, smooth
from mld.motion.facts.thresholds import THRESHOLDS, Thresholds

PELVIS, SPINE, NECK, HEAD = 0, 3, 12, 15
HIP, KNEE, ANKLE, TOE = ({"left": a, "right": a + 1} for a in (1, 4, 7, 10))
SHOULDER, ELBOW, WRIST = ({"left": a, "right": a + 1} for a in (16, 18, 20))
LEG = 0.8  # m from hip to ankle for which the thresholds are written


class Body:
    """Measures of joints (T, 22, 3): SMPL order, metres, y up. Left is +x for a body that faces +z.

    Curves are (T,) float64 and smoothed as their docstrings say; `size` is the leg's length against 0.8 m.
    Raises `ValueError` for another shape, an empty clip, and what is no frame rate.
    """

    def __init__(self, joints: Array, fps: float = 20.0, limits: Thresholds = THRESHOLDS) -> None:
        joints = np.asarray(joints, dtype=np.float64)
        if joints.ndim != 3 or joints.shape[1:] != (22, 3) or not len(joints):
            raise ValueError(f"facts are measured on joints (T, 22, 3), not {tuple(joints.shape)}")
        if not np.isfinite(joints).all():
            raise ValueError("facts cannot be measured: some joints are not finite")
        if not 0 < fps < np.inf:
            raise ValueError(f"facts cannot be measured at {fps} frames per second")
        self.fps, self.limits = float(fps), limits
        self.joints = smooth(joints, limits.limb_smoothing, self.fps)

    # --- the body and its floor

    @property
    def frames(self) -> int:
        return len(self.joints)

    @property
    def seconds(self) -> float:
        return (self.frames - 1) / self.fps

    def time(self, frame: float) -> float:
        """Seconds at a frame."""
        return float(frame) / self.fps

    @cached_property
    def leg(self) -> float:
        """Hip to ankle along the bones, metres: the median over frames and sides."""
        return float(np.mean([self._chain(HIP[s], KNEE[s], ANKLE[s]) for s in HIP]))

    @cached_property
    def arm(self) -> float:
        """Shoulder to wrist along the bones, metres."""
        return float(np.mean([self._chain(SHOULDER[s], ELBOW[s], WRIST[s]) for s in HIP]))

    @property
    def size(self) -> float:
        return max(self.leg, 1e-3) / LEG

    @property
    def pace(self) -> float:
        """What speeds are measured against: the square root of `size`."""
        return float(np.sqrt(self.size))

    def _chain(self, *joints: int) -> float:
        return float(
            sum(
                np.median(np.linalg.norm(self.joints[:, b] - self.joints[:, a], axis=-1))
                for a, b in zip(joints, joints[1:])
            )
        )

    @cached_property
    def floor(self) -> float:
        """Height of the lowest joint of a standing foot: the tenth percentile of the lowest joint of each frame."""
        return float(np.percentile(self.joints[:, :, 1].min(1), 10))

    @cached_property
    def ankle_height(self) -> float:
        """Of a standing foot over the floor; a clip on tiptoe or on its knees gets the usual one."""
        lowest = min(float(np.percentile(self.joints[:, ANKLE[s], 1], 5)) for s in ANKLE) - self.floor
        return float(np.clip(lowest, 0.02, 0.13 * self.size))

    @cached_property
    def standing(self) -> float:
        """Height of the standing pelvis over the floor: what it has where a leg is stretched and carries the body;
        from the bones where that never happens."""
        usual = self._usual_standing
        rise = self.joints[:, PELVIS, 1] - self.floor
        straight = np.zeros(self.frames, dtype=bool)
        for side in HIP:
            down = self.joints[:, ANKLE[side], 1] - self.floor < self.ankle_height + 0.05 * self.size
            straight |= down & (self.stretch(side) > 0.96) & (rise > 0.88 * usual)
        if straight.sum() < max(3, 0.05 * self.frames):
            return usual
        return float(np.clip(np.median(rise[straight]), 0.93 * usual, 1.07 * usual))

    @cached_property
    def _usual_standing(self) -> float:
        hips = (self.joints[:, HIP["left"]] + self.joints[:, HIP["right"]]) / 2
        over = float(np.median(np.linalg.norm(self.joints[:, PELVIS] - hips, axis=-1)))
        return 0.985 * self.leg + self.ankle_height + 0.9 * over

    # --- where it faces and goes

    @cached_property
    def facing(self) -> Array:
        """Angle of the way the body faces, radians, unwrapped: 0 along +z, above 0 to the left (+x)."""
        across = 0.7 * self._across(HIP) + 0.3 * self._across(SHOULDER)
        angle = np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))
        return smooth(angle, self.limits.heading_smoothing, self.fps)

    def _across(self, pair: dict[str, int]) -> Array:
        """Horizontal unit vectors (T, 3) from right to left; those of frames where the body is on its side are carried
        over."""
        vector = self.joints[:, pair["left"]] - self.joints[:, pair["right"]]
        length = np.linalg.norm(vector, axis=-1)
        vector = vector * [1.0, 0.0, 1.0]
        flat = np.linalg.norm(vector, axis=-1)
        good = np.flatnonzero(flat > 0.35 * np.maximum(length, 1e-6))
        if not len(good):
            return np.tile([1.0, 0.0, 0.0], (self.frames, 1))
        frames = np.arange(self.frames)
        after = np.searchsorted(good, frames).clip(max=len(good) - 1)
        before = (after - 1).clip(min=0)
        nearest = good[np.where(np.abs(good[before] - frames) <= np.abs(good[after] - frames), before, after)]
        return vector[nearest] / flat[nearest][:, None]

    @cached_property
    def turned(self) -> float:
        """Degrees from the first to the last frame, to the left above 0."""
        return float(np.degrees(self.facing[-1] - self.facing[0]))

    @cached_property
    def ahead(self) -> Array:
        """Unit vectors (T, 3) of the facing direction."""
        return np.stack([np.sin(self.facing), np.zeros(self.frames), np.cos(self.facing)], axis=-1)

    @cached_property
    def aside(self) -> Array:
        """Unit vectors (T, 3) to the left of the body."""
        return np.stack([np.cos(self.facing), np.zeros(self.frames), -np.sin(self.facing)], axis=-1)

    @cached_property
    def root(self) -> Array:
        """The pelvis (T, 3), smoothed so that single steps do not show."""
        return smooth(self.joints[:, PELVIS], self.limits.body_smoothing, self.fps)

    @cached_property
    def velocity(self) -> Array:
        """Horizontal velocity (T, 3) of `root`, m/s."""
        return rate(self.root, self.fps) * [1.0, 0.0, 1.0]

    @cached_property
    def speed(self) -> Array:
        return np.linalg.norm(self.velocity, axis=-1)

    @cached_property
    def forward_speed(self) -> Array:
        return (self.velocity * self.ahead).sum(-1)

    @cached_property
    def leftward_speed(self) -> Array:
        return (self.velocity * self.aside).sum(-1)

    @cached_property
    def forward(self) -> float:
        """Metres along the way it faces, whichever way that is at the time; below 0: backward."""
        return float(self.forward_speed.sum() / self.fps)

    @cached_property
    def leftward(self) -> float:
        return float(self.leftward_speed.sum() / self.fps)

    @cached_property
    def distance(self) -> float:
        """Length of the path, metres."""
        return float(np.linalg.norm(np.diff(self.root[:, ::2], axis=0), axis=-1).sum())

    @cached_property
    def displacement(self) -> float:
        """Metres from the first place to the last, as the crow flies."""
        return float(np.linalg.norm(self.root[-1, ::2] - self.root[0, ::2]))

    # --- heights

    @cached_property
    def lift(self) -> Array:
        """Height of the pelvis over where it stands, metres."""
        return self.joints[:, PELVIS, 1] - self.floor - self.standing

    @cached_property
    def pelvis_rise(self) -> float:
        return float(self.lift.max())

    @cached_property
    def pelvis_drop(self) -> float:
        return float(-self.lift.min())

    def height(self, joint: int) -> Array:
        """Height of a joint over the floor, metres."""
        return self.joints[:, joint, 1] - self.floor

    def clearance(self, side: str) -> Array:
        """Height of a foot over the lowest that feet get in the seconds around, metres: ankle or toe, whichever is
        less. It follows a floor that rises, or that a generated motion drifts from."""
        return self._clearances[side]

    @cached_property
    def _clearances(self) -> dict[str, Array]:
        curves: dict[str, Array] = {}
        for joints in (ANKLE, TOE):
            lowest = np.minimum(self.joints[:, joints["left"], 1], self.joints[:, joints["right"], 1])
            ground = smooth(minimum_filter1d(lowest, max(3, round(1.6 * self.fps)), mode="nearest"), 0.3, self.fps)
            for side, joint in joints.items():
                over = self.joints[:, joint, 1] - ground
                curves[side] = np.minimum(curves[side], over) if side in curves else over
        return curves

    # --- limbs against the body

    def local(self, joint: int, origin: int | None = None) -> Array:
        """A joint (T, 3) in metres left, up and ahead of `origin`, along the way the body faces; up from the floor
        without an origin."""
        base = (
            self.joints[:, PELVIS] * [1.0, 0.0, 1.0] + [0.0, self.floor, 0.0]
            if origin is None
            else self.joints[:, origin]
        )
        away = self.joints[:, joint] - base
        return np.stack([(away * self.aside).sum(-1), away[:, 1], (away * self.ahead).sum(-1)], axis=-1)

    @cached_property
    def torso(self) -> Array:
        """Axes (T, 3, 3) of the upper body: to its left, up the spine, ahead of the chest; unit rows, not smoothed."""
        left = self.joints[:, SHOULDER["left"]] - self.joints[:, SHOULDER["right"]]
        up = self.joints[:, NECK] - self.joints[:, SPINE]
        ahead = np.cross(left, up)
        axes = np.stack([np.cross(up, ahead), up, ahead], axis=1)
        return axes / np.maximum(np.linalg.norm(axes, axis=-1, keepdims=True), 1e-9)

    def on_torso(self, joint: int, origin: int) -> Array:
        """A joint (T, 3) in metres left, up and ahead of `origin` along the axes of the upper body."""
        return np.einsum("tij,tj->ti", self.torso, self.joints[:, joint] - self.joints[:, origin])

    def stretch(self, side: str) -> Array:
        """Hip to ankle, share of the stretched leg."""
        return np.linalg.norm(self.joints[:, ANKLE[side]] - self.joints[:, HIP[side]], axis=-1) / max(self.leg, 1e-6)

    def reach(self, side: str) -> Array:
        """Shoulder to wrist, share of the stretched arm."""
        return np.linalg.norm(self.joints[:, WRIST[side]] - self.joints[:, SHOULDER[side]], axis=-1) / max(
            self.arm, 1e-6
        )

    @cached_property
    def trunk(self) -> Array:
        """Degrees (T, 2) that the trunk leans forward and to the left, pelvis to neck against the vertical."""
        spine = self.local(NECK, PELVIS)
        return np.degrees(
            np.stack([np.arctan2(spine[:, 2], spine[:, 1]), np.arctan2(spine[:, 0], spine[:, 1])], axis=-1)
        )

    @cached_property
    def upright(self) -> Array:
        """Cosine of the trunk to the vertical."""
        spine = self.joints[:, NECK] - self.joints[:, PELVIS]
        return spine[:, 1] / np.maximum(np.linalg.norm(spine, axis=-1), 1e-6)

    @cached_property
    def legs_behind(self) -> Array:
        """Metres that the pelvis is behind the middle of the ankles."""
        ankles = (self.local(ANKLE["left"], PELVIS) + self.local(ANKLE["right"], PELVIS)) / 2
        return ankles[:, 2]

    def limb_speed(self, joint: int) -> Array:
        """Speed of a joint against the pelvis, in the body's own directions, m/s."""
        return np.linalg.norm(rate(self.local(joint, PELVIS), self.fps), axis=-1)
