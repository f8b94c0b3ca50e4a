"""Joining generated joints to given ones: the given frames stay exactly as they are, the generated ones give way.

A continuation is first moved as a whole (yaw and xz), because features only know movement relative to the body.
What then remains of the difference, in the root's place and in the direction of every bone, decays over a few frames
(inertialisation: a cubic that starts with the offset and its velocity and ends at rest). So position, heading and
velocity are continuous and bones keep their lengths. Rows are frames, y is up, metres.
`reference` is the decoded pose at a given frame, in the generated motion's own coordinates; without it the generated
motion is extrapolated by one frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mld.errors import RequestError
from mld.motion import kinematics
from mld.motion.skeletons import Skeleton

BLEND_FRAMES = 8
BLEND_SPEED = 0.1  # metres per frame: a large offset takes more frames, so that giving way is not faster than this
LONGEST_BLEND = 30  # frames
BLEND_TURN = 0.25  # radians per frame, likewise
VELOCITY_NOISE = 0.015  # metres per frame: differences of velocity below this are jitter of decoded motion


def turn(points: Tensor, yaw: Tensor) -> Tensor:
    """Rotate points (..., 3) about the y axis by `yaw` (broadcast against the leading dimensions), radians."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y, z = points.unbind(-1)
    return torch.stack((x * cos + z * sin, y.expand_as(x * cos), z * cos - x * sin), dim=-1)


def yaw_between(pose: Tensor, target: Tensor, joints: Sequence[int] | slice = slice(None)) -> Tensor:
    """The yaw that turns `pose` (J, 3) best onto `target` (J, 3), both taken relative to joint 0 (least squares over
    `joints`; hips and shoulders know the heading best, all joints do without a skeleton)."""
    p, t = (pose - pose[:1])[joints], (target - target[:1])[joints]
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
    moved = _align(torch.cat((before[None], moved)), head[-1], skeleton)
    change = _give_way(head, moved, len(moved) - 1, blend_frames, skeleton)
    return torch.cat((head, _changed(moved[1:], change, skeleton)))


def yaw_of_join(head: Tensor, continuation: Tensor, skeleton: Skeleton) -> Tensor:
    """The yaw (), radians, by which `extend` turns what follows."""
    continuation = continuation.to(head)
    return yaw_between(_frame_before(continuation, skeleton), head[-1], list(skeleton.face_joints))


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
    path = _align(torch.cat((first[None], middle, last[None])), head[-1], skeleton)
    path = _bend(path, tail[0], skeleton)
    frames = len(middle)
    change = _give_way(head, path, frames, blend_frames, skeleton, end=frames + 1)
    back = _give_way(tail.flip(0), path.flip(0), frames, blend_frames, skeleton, end=frames + 1)
    shift, turns, longer = (ahead + behind.flip(0) for ahead, behind in zip(change, back))
    return torch.cat((head, _changed(path[1:-1], (shift, turns, longer), skeleton), tail))


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
    pose = 2 * clip[0] - clip[1]
    bones = _directions(pose, skeleton) * _lengths(clip[0], skeleton)[:, None]
    return kinematics.place(pose[0], bones, skeleton)


def _align(clip: Tensor, target: Tensor, skeleton: Skeleton) -> Tensor:
    """Move `clip` by one yaw and one xz shift so that its first pose lies on `target` (J, 3)."""
    turned = turn(clip, yaw_between(clip[0], target, list(skeleton.face_joints)))
    shift = target[0] - turned[0, 0]
    return turned + shift * shift.new_tensor((1.0, 0.0, 1.0))


def _bend(path: Tensor, target: Tensor, skeleton: Skeleton) -> Tensor:
    """Bend `path` (N, J, 3) so that its last pose faces like `target` (J, 3) and stands at its xz; the first stays.

    The root's steps turn together with the body, so a walk still goes where it faces. What is left of the way is
    spread by distance covered, so that a person who stands still slides least."""
    spread = smooth_step(torch.linspace(0, 1, len(path)).to(path))
    yaw = yaw_between(path[-1], target, list(skeleton.face_joints)) * spread
    root = path[:, 0]
    steps = turn(root.diff(dim=0), 0.5 * (yaw[1:] + yaw[:-1]))
    bent_root = torch.cat((root[:1], root[:1] + steps.cumsum(0)))
    bent = turn(path - root[:, None], yaw[:, None]) + bent_root[:, None]
    way = steps[:, (0, 2)].norm(dim=-1)
    way = (way + 0.2 * way.mean() + 1e-4).cumsum(0)
    ramp = torch.cat((way.new_zeros(1), smooth_step(way / way[-1])))
    missing = (target[0] - bent_root[-1]) * target.new_tensor((1.0, 0.0, 1.0))
    return bent + ramp[:, None, None] * missing


Change = tuple[Tensor, Tensor, Tensor]  # of root positions (N, 3), bone turns (N, J-1, 3), bone lengths (N, J-1)


def _give_way(
    given: Tensor, generated: Tensor, frames: int, blend_frames: int, skeleton: Skeleton, end: int = LONGEST_BLEND
) -> Change:
    """Changes to `frames` generated frames that follow a join, decaying over `blend_frames`, or more for large ones.

    given: poses up to the join. generated: the generated poses from the last given frame on. end: the frame by which
    nothing may be left. Bones turn, so an arm swings over instead of shrinking through the shoulder."""
    given = given[-3:].flip(0)  # from the join backwards in time
    ours, theirs = _directions(given, skeleton), _directions(generated[:3], skeleton)
    offset, turns = given[0, 0] - generated[0, 0], turn_between(theirs[0], ours[0])
    needed = max(offset.norm().item() / BLEND_SPEED, turns.norm(dim=-1).max().item() / BLEND_TURN)
    window = min(max(blend_frames, min(math.ceil(1.5 * needed), LONGEST_BLEND)), end)

    lengths = _lengths(given[0], skeleton)
    drift, spin = torch.zeros_like(offset), torch.zeros_like(turns)
    if len(given) > 1:
        drift = _beyond(-_velocity(given[:, 0]) - _velocity(generated[:3, 0]), torch.tensor(VELOCITY_NOISE))
        spin = torch.linalg.cross(ours[0], -_velocity(ours) - _rotate(_velocity(theirs), turns))
        spin = _beyond(spin, VELOCITY_NOISE / lengths.clamp(min=0.05))

    time = ((torch.arange(frames) + 1) / window).clamp(max=1).to(generated)[:, None]
    stay, go = 1 - smooth_step(time), window * time * (1 - time) ** 2
    return (
        stay * offset + go * drift,
        stay[..., None] * turns + go[..., None] * spin,
        stay * (lengths - _lengths(generated[0], skeleton)),
    )


def _changed(clip: Tensor, change: Change, skeleton: Skeleton) -> Tensor:
    """`clip` (N, J, 3) with its root moved, its bones turned and lengthened."""
    shift, turns, longer = change
    bones = _rotate(_directions(clip, skeleton), turns) * (_lengths(clip, skeleton) + longer)[..., None]
    return kinematics.place(clip[:, 0] + shift, bones, skeleton)


def _directions(poses: Tensor, skeleton: Skeleton) -> Tensor:
    return kinematics.bone_directions(poses, skeleton)


def _lengths(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """Bone lengths (..., J-1) of joints (..., J, 3)."""
    return (poses[..., 1:, :] - poses[..., list(skeleton.parents[1:]), :]).norm(dim=-1)


def turn_between(start: Tensor, end: Tensor) -> Tensor:
    """The shortest turns (..., 3), axis times angle, of unit vectors (..., 3) onto others."""
    axis = torch.linalg.cross(start, end)
    sine, cosine = axis.norm(dim=-1, keepdim=True), (start * end).sum(-1, keepdim=True)
    opposite = torch.linalg.cross(start, start.roll(1, dims=-1))  # any axis at a right angle, for a half turn
    axis = torch.where((sine < 1e-6) & (cosine < 0), opposite, axis)
    return axis / axis.norm(dim=-1, keepdim=True).clamp(min=1e-9) * torch.atan2(sine, cosine)


def _rotate(vectors: Tensor, turns: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by turns (..., 3), axis times angle (Rodrigues)."""
    angle = turns.norm(dim=-1, keepdim=True)
    axis = turns / angle.clamp(min=1e-9)
    along = axis * (axis * vectors).sum(-1, keepdim=True)
    return along + (vectors - along) * angle.cos() + torch.linalg.cross(axis, vectors) * angle.sin()


def _beyond(velocity: Tensor, noise: Tensor) -> Tensor:
    """Velocities (..., 3) shortened by what may be noise (...,)."""
    size = velocity.norm(dim=-1, keepdim=True)
    return velocity * (1 - noise[..., None] / size.clamp(min=1e-9)).clamp(min=0)


def _velocity(poses: Tensor) -> Tensor:
    """Velocity (..., 3) per frame at the first of two or three rows (one-sided difference of the highest order)."""
    if len(poses) == 2:
        return poses[1] - poses[0]
    return 2 * poses[1] - 1.5 * poses[0] - 0.5 * poses[2]


def _root_velocity(clip: Tensor) -> Tensor:
    """Mean root displacement per frame (3,)."""
    return clip[:, 0].diff(dim=0).mean(0) if len(clip) > 1 else torch.zeros_like(clip[0, 0])


def smooth_step(x: Tensor) -> Tensor:
    """The cubic ramp from 0 to 1 with level ends."""
    return x * x * (3 - 2 * x)
