"""Foot-sliding removal as published with MotionMillion (spec 8.2), step for step, for results that compare with theirs.

Compat, and odd: its speed limits are so high that only heights decide on contact, heights are not measured from the
floor, feet are pinned to the mean of a whole contact, the root is not moved, and the frame rate doubles.
`mld.motion.cleanup.cleanup` is the procedure to use for the sake of the motion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics
from mld.motion.cleanup.damped_ik import reach
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import offsets_of, solve
from mld.motion.rotations import matrix_to_quaternion, quaternion_to_matrix

FEET = ("l_ankle", "l_foot", "r_ankle", "r_foot")
HANDS = (("l_wrist", "l_palm"), ("r_wrist", "r_palm"))


@dataclass(frozen=True)
class PublishedSettings:
    """window: frames of the Savitzky-Golay filter, odd and above its order. contact_height (metres) and contact_speed
    (metres per frame, squared): of ankle or wrist, and of foot or palm. blend_window: frames over which a free foot is
    drawn to a contact. floor_slice: the shares of sorted foot heights whose mean is the floor; above floor_max it is 0.
    """

    window: int = 5
    order: int = 3
    contact_speed: tuple[float, float] = (0.05, 0.2)
    contact_height: tuple[float, float] = (0.06, 0.03)
    blend_window: int = 24
    floor_slice: tuple[float, float] = (0.25, 0.5)
    floor_max: float = 0.5
    iterations: int = 50
    damping: float = 2 / 1.001
    root_filter: tuple[int, int] = (5, 2)


def remove_sliding(motion: Motion, settings: PublishedSettings | None = None) -> Motion:
    """The motion as the published procedure leaves it, at the frame rate that it came with.

    Rotations that it lacks are computed from its joints. `DataError` for fewer frames than the filter's window.
    """
    settings = settings or PublishedSettings()
    if not settings.window % 2 or not settings.order < settings.window <= motion.num_frames:
        raise DataError(f"remove_sliding: the window of {settings.window} frames has to be odd, above {settings.order} "
                        f"and no longer than the motion ({motion.num_frames} frames)")
    skeleton = motion.skeleton
    rotations, offsets = solve(motion) if motion.rotations is None else (motion.rotations, offsets_of(motion))
    rotations, positions = rotations.double(), offsets.double().repeat(motion.num_frames, 1, 1)
    positions[:, 0] = motion.joints[:, 0].double()
    feet, *hands = (index_of(skeleton.joint_names, names) for names in (FEET, *HANDS))
    joints, _ = kinematics.forward(positions[:, 0], rotations, positions, skeleton.parents)
    targets = smoothed(joints, settings)
    for ends in (feet, *hands):
        targets = pinned(targets, ends, settings)
    rotations = reach(rotations, positions, skeleton.parents, targets, settings.iterations, settings.damping)
    turns, positions = upsampled(rotations, lowered(positions, floor_height(joints, feet, settings)), settings)
    rotations, positions = quaternion_to_matrix(turns[::2]), positions[::2]
    joints, _ = kinematics.forward(positions[:, 0], rotations, offsets.double(), skeleton.parents)
    shift = joints[:, 0] - motion.joints[:, 0]
    return dataclasses.replace(
        motion,
        joints=joints,
        rotations=None if motion.rotations is None else rotations,
        translation=None if motion.translation is None else motion.translation + shift,
    )


def index_of(joint_names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where joints are among the names; those that a skeleton lacks (palms) are left out."""
    return [joint_names.index(name) for name in wanted if name in joint_names]


def smoothed(joints: Tensor, settings: PublishedSettings) -> Tensor:
    """Joints (T, J, 3) after the Savitzky-Golay filter along time."""
    return _savgol(joints, settings.window, settings.order)


def floor_height(joints: Tensor, feet: Sequence[int], settings: PublishedSettings) -> float:
    """Metres: mean of a slice of the sorted heights of the lowest foot joint; 0 where that is too high for a floor."""
    heights = joints[:, list(feet), 1].amin(-1).sort().values
    first, last = (int(share * len(heights)) for share in settings.floor_slice)
    floor = float(heights[first : max(last, first + 1)].mean())
    return floor if floor <= settings.floor_max else 0.0


def contacts(joints: Tensor, ends: Sequence[int], settings: PublishedSettings) -> Tensor:
    """Contact labels (T, E) bool of the joints `ends`, which come as upper, lower, upper, lower (ankle, foot, ...)."""
    chosen = joints[:, list(ends)]
    pairs = (len(ends) + 1) // 2  # a wrist may come without a palm
    speed, height = (joints.new_tensor(limits).repeat(pairs)[: len(ends)]
                     for limits in (settings.contact_speed, settings.contact_height))
    down = (chosen.diff(dim=0).square().sum(-1) < speed) & (chosen[:-1, :, 1] < height)
    return torch.cat([down, down[-1:]])


def pinned(joints: Tensor, ends: Sequence[int], settings: PublishedSettings) -> Tensor:
    """Joints (T, J, 3) with each of `ends` at the mean of its place during a contact, and drawn to it before and after.
    """
    targets = joints.clone()
    for joint, contact in zip(ends, contacts(joints, ends, settings).T):
        targets[:, joint] = _drawn(_held(targets[:, joint], contact), contact, settings.blend_window)
    return targets


def lowered(positions: Tensor, floor: float) -> Tensor:
    """Local positions (T, J, 3) with the floor taken from the height of every joint (compat: not of the root alone)."""
    return positions - positions.new_tensor([0.0, floor, 0.0])


def upsampled(rotations: Tensor, positions: Tensor, settings: PublishedSettings) -> tuple[Tensor, Tensor]:
    """Quaternions (2T - 1, J, 4), x y z w, and local positions (2T - 1, J, 3) of twice the frame rate, smoothed, from
    local rotations (T, J, 3, 3) and positions (T, J, 3)."""
    turns = _with_midpoints(matrix_to_quaternion(rotations), _halfway)
    between = _halfway(turns[:-1], turns[1:])
    turns = torch.cat([turns[:1], _halfway(between[:-1], between[1:]), turns[-1:]])
    places = _with_midpoints(positions, lambda a, b: (a + b) / 2)
    places[:, 0] = _savgol(places[:, 0], *settings.root_filter)
    return turns, places


def _savgol(values: Tensor, window: int, order: int) -> Tensor:
    from scipy.signal import savgol_filter

    return torch.from_numpy(savgol_filter(values.numpy(), window, order, axis=0))


def _held(path: Tensor, contact: Tensor) -> Tensor:
    """A path (T, 3) at its mean over each run of contact (T,)."""
    run = torch.cat([contact[:1].long(), contact.diff().long() * contact[1:].long()]).cumsum(0)
    held = path.clone()
    for number in range(1, int(run.max()) + 1):
        inside = contact & (run == number)
        held[inside] = path[inside].mean(0)
    return held


def _drawn(path: Tensor, contact: Tensor, window: int) -> Tensor:
    """A path (T, 3) whose free frames are drawn to the nearest contact frames on both sides, within `window` frames."""
    frames = np.arange(len(path))
    held = contact.numpy()
    left = np.maximum.accumulate(np.where(held, frames, -len(frames) - window))
    right = np.minimum.accumulate(np.where(held, frames, 3 * len(frames) + window)[::-1])[::-1]
    near_left, near_right = (torch.from_numpy(d <= window)[:, None] for d in (frames - left, right - frames))
    after, before = (torch.from_numpy((d + 1).astype(float))[:, None] for d in (frames - left, right - frames))
    last = len(path) - 1
    from_left = path.lerp(path[left.clip(0, last)], _falling(after / (window + 1)))
    from_right = path.lerp(path[right.clip(0, last)], _falling(before / (window + 1)))
    both = from_right.lerp(from_left, _falling(after / (after + before - 1)))
    drawn = torch.where(near_left, torch.where(near_right, both, from_left), torch.where(near_right, from_right, path))
    return torch.where(contact[:, None], path, drawn)


def _falling(share: Tensor) -> Tensor:
    """The cubic ramp from 1 at 0 to 0 at 1."""
    return 2 * share**3 - 3 * share**2 + 1


def _with_midpoints(values: Tensor, middle: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Values (T, ...) with `middle(a, b)` of neighbours between them, (2T - 1, ...)."""
    doubled = values.repeat_interleave(2, dim=0)[:-1].clone()
    doubled[1::2] = middle(values[:-1], values[1:])
    return doubled


def _halfway(start: Tensor, end: Tensor) -> Tensor:
    """Quaternions (..., 4) in the middle of the shortest arcs."""
    same_side = torch.where((start * end).sum(-1, keepdim=True) < 0, -end, end)
    return torch.nn.functional.normalize(start + same_side, dim=-1)
