"""Joining generated joints to given ones: the given frames stay exactly as they are, the generated ones give way.

A continuation is first moved as a whole (yaw and xz), because features only know movement relative to the body.
What then remains of the difference decays over a few frames (inertialisation: a cubic that starts with the offset and
its velocity and ends at rest), so position, heading and velocity are continuous. Rows are frames, y is up, metres.
`reference` is the decoded pose at a given frame, in the generated motion's own coordinates; without it the generated
motion is extrapolated by one frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.errors import RequestError
from mld.motion import kinematics
from mld.motion.skeletons import Skeleton

BLEND_FRAMES = 8


def turn(points: Tensor, yaw: Tensor) -> Tensor:
    """Rotate points (..., 3) about the y axis by `yaw` (broadcast against the leading dimensions), radians."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y, z = points.unbind(-1)
    return torch.stack((x * cos + z * sin, y.expand_as(x * cos), z * cos - x * sin), dim=-1)


def yaw_between(pose: Tensor, target: Tensor) -> Tensor:
    """The yaw that turns `pose` (J, 3) best onto `target` (J, 3), both taken relative to joint 0 (least squares)."""
    p, t = pose - pose[:1], target - target[:1]
    sine = (t[:, 0] * p[:, 2] - t[:, 2] * p[:, 0]).sum()
    cosine = (t[:, 0] * p[:, 0] + t[:, 2] * p[:, 2]).sum()
    return torch.atan2(sine, cosine)


def extend(
    head: Tensor, continuation: Tensor, skeleton: Skeleton, reference: Tensor | None = None,
    blend_frames: int = BLEND_FRAMES,
) -> Tensor:
    """`head` (Th, J, 3), unchanged, followed by `continuation` (Tc, J, 3) moved and blended to meet it.

    reference: (J, 3) decoded pose at the head's last frame. Returns (Th + Tc, J, 3)."""
    _check(skeleton, head=head, continuation=continuation)
    moved = continuation.to(head)
    before = _frame_before(moved, skeleton) if reference is None else reference.to(head)
    moved = _align(torch.cat((before[None], moved)), head[-1])
    change, bones = _give_way(head, moved, len(moved) - 1, blend_frames, skeleton)
    return torch.cat((head, _with_bones(moved[1:] + change, moved[1:], bones, skeleton)))


def bridge(
    head: Tensor, middle: Tensor, tail: Tensor, skeleton: Skeleton, head_reference: Tensor | None = None,
    tail_reference: Tensor | None = None, blend_frames: int = BLEND_FRAMES,
) -> Tensor:
    """`head` (Th, J, 3) and `tail` (Tt, J, 3), both unchanged, with `middle` (Tm, J, 3) bent to lead from one to the
    other.

    head_reference, tail_reference: (J, 3) decoded poses at the head's last and the tail's first frame. The middle is
    aligned at the head; the yaw and place it then misses the tail by are spread over it with a smooth ramp.
    Returns (Th + Tm + Tt, J, 3)."""
    _check(skeleton, head=head, middle=middle, tail=tail)
    middle, tail = middle.to(head), tail.to(head)
    first = _frame_before(middle, skeleton) if head_reference is None else head_reference.to(head)
    last = _frame_before(middle.flip(0), skeleton) if tail_reference is None else tail_reference.to(head)
    path = _align(torch.cat((first[None], middle, last[None])), head[-1])
    path = _bend(path, tail[0])
    frames, window = len(middle), min(blend_frames, len(middle) + 1)
    change, bones = _give_way(head, path, frames, window, skeleton)
    back, back_bones = _give_way(tail.flip(0), path.flip(0), frames, window, skeleton)
    change, bones = change + back.flip(0), bones + back_bones.flip(0)
    return torch.cat((head, _with_bones(path[1:-1] + change, path[1:-1], bones, skeleton), tail))


def place_after(head: Tensor, tail: Tensor, gap: int) -> Tensor:
    """`tail` (Tt, J, 3) moved as a whole so that it starts where somebody who leaves `head` (Th, J, 3) at its final
    heading gets to in `gap` frames, walking at the mean of the two clips' root speeds there."""
    yaw = yaw_between(tail[0], head[-1])
    turned = turn(tail, yaw)
    leaving, arriving = _root_velocity(head[-6:]), _root_velocity(turned[:6])
    start = head[-1, 0] + 0.5 * (leaving + arriving) * (gap + 1)
    shift = start - turned[0, 0]
    return turned + shift * shift.new_tensor((1.0, 0.0, 1.0))


def _check(skeleton: Skeleton, **clips: Tensor) -> None:
    joints = len(skeleton.parents)
    for name, clip in clips.items():
        if clip.ndim != 3 or clip.shape[1:] != (joints, 3) or len(clip) == 0:
            raise RequestError(f"{name}: joints of shape (frames, {joints}, 3) are needed, got {tuple(clip.shape)}")


def _frame_before(clip: Tensor, skeleton: Skeleton) -> Tensor:
    """The pose (J, 3) one frame before the first, at constant velocity and with its bone lengths."""
    if len(clip) == 1:
        return clip[0]
    return _with_bones(2 * clip[:1] - clip[1:2], clip[:1], clip.new_zeros(clip.shape[1]), skeleton)[0]


def _align(clip: Tensor, target: Tensor) -> Tensor:
    """Move `clip` by one yaw and one xz shift so that its first pose lies on `target` (J, 3)."""
    turned = turn(clip, yaw_between(clip[0], target))
    shift = target[0] - turned[0, 0]
    return turned + shift * shift.new_tensor((1.0, 0.0, 1.0))


def _bend(path: Tensor, target: Tensor) -> Tensor:
    """Bend `path` (N, J, 3) so that its last pose faces like `target` (J, 3) and stands at its xz; the first stays.

    The root's steps turn together with the body, so a walk still goes where it faces. What is left of the way is
    spread by distance covered, so that a person who stands still slides least."""
    yaw = yaw_between(path[-1], target) * _smooth(torch.linspace(0, 1, len(path)).to(path))
    root = path[:, 0]
    steps = turn(root.diff(dim=0), 0.5 * (yaw[1:] + yaw[:-1]))
    bent_root = torch.cat((root[:1], root[:1] + steps.cumsum(0)))
    bent = turn(path - root[:, None], yaw[:, None]) + bent_root[:, None]
    way = steps[:, (0, 2)].norm(dim=-1)
    way = (way + 0.2 * way.mean() + 1e-4).cumsum(0)
    ramp = torch.cat((way.new_zeros(1), _smooth(way / way[-1])))
    missing = (target[0] - bent_root[-1]) * target.new_tensor((1.0, 0.0, 1.0))
    return bent + ramp[:, None, None] * missing


def _give_way(
    given: Tensor, generated: Tensor, frames: int, window: int, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """Changes to `frames` generated frames that follow a join, decaying over `window` frames.

    given: poses up to the join. generated: the generated poses from the last given frame on.
    Returns position changes (frames, J, 3) and bone length changes (frames, J)."""
    offset = given[-1] - generated[0]
    drift = -_velocity(given[-3:].flip(0)) - _velocity(generated[:3]) if len(given) > 1 else torch.zeros_like(offset)
    time = ((torch.arange(frames) + 1) / window).clamp(max=1).to(given)[:, None, None]
    stay, go = 1 - _smooth(time), time * (1 - time) ** 2
    bones = _bone_lengths(given[-1], skeleton) - _bone_lengths(generated[0], skeleton)
    return stay * offset + go * window * drift, stay[..., 0] * bones


def _with_bones(blended: Tensor, original: Tensor, change: Tensor, skeleton: Skeleton) -> Tensor:
    """`blended` (N, J, 3) with the bone lengths of `original` plus `change` (N, J); directions are kept."""
    lengths = _bone_lengths(original, skeleton) + change
    directions = kinematics.bone_directions(blended, skeleton)
    return kinematics.place(blended[:, 0], directions * lengths[:, 1:, None], skeleton)


def _bone_lengths(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """Distances (..., J) of joints (..., J, 3) to their parents; 0 for the root."""
    parents = [max(parent, 0) for parent in skeleton.parents]
    return (poses - poses[..., parents, :]).norm(dim=-1)


def _velocity(poses: Tensor) -> Tensor:
    """Velocity (J, 3) per frame at the first of two or three poses (one-sided difference of the highest order)."""
    if len(poses) == 2:
        return poses[1] - poses[0]
    return 2 * poses[1] - 1.5 * poses[0] - 0.5 * poses[2]


def _root_velocity(clip: Tensor) -> Tensor:
    """Mean root displacement per frame (3,)."""
    return clip[:, 0].diff(dim=0).mean(0) if len(clip) > 1 else torch.zeros_like(clip[0, 0])


def _smooth(x: Tensor) -> Tensor:
    """The cubic ramp from 0 to 1 with level ends."""
    return x * x * (3 - 2 * x)
