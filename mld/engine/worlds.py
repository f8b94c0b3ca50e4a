"""One world for the given motions of a request, where features tell places: each is encoded by itself, in the world of
its own first frame, and a model is to see where they are to each other.

The world of a request is that of the first frame of its first motion, over the lowest joint of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from mld.engine.timeline import Timeline
from mld.example import Clip
from mld.motion import stitch
from mld.motion.representations.base import Representation


def in_one_world(line: Timeline, representation: Representation) -> Timeline:
    """The time line with the clips that are to be encoded in one world; as it is where features tell no places. Clips
    that come as tokens stay as they are."""
    clips = line.clips
    if not representation.absolute or not clips or any(clip.features is None for clip in clips):
        return line
    joints = joints_in_one_world(clips, representation)
    rows = _moved([clip.features for clip in clips], joints, representation)
    moved = {id(clip): dataclasses.replace(clip, features=features) for clip, features in zip(clips, rows)}
    return dataclasses.replace(line, prompt=tuple(moved.get(id(part), part) for part in line.prompt))


def rows_in_one_world(pieces: Sequence[Tensor], joints: Tensor, representation: Representation) -> Tensor:
    """Features (T, D) of a motion whose joints are (T, J, 3), out of pieces (t, D) that have worlds of their own."""
    pieces = [piece for piece in pieces if len(piece)]
    if representation.absolute:
        counts = [len(piece) for piece in pieces]
        pieces = _moved(pieces, joints.split([*counts[:-1], len(joints) - sum(counts[:-1])]), representation)
    return torch.cat(list(pieces))


def _moved(rows: Sequence[Tensor], joints: Sequence[Tensor], representation: Representation) -> list[Tensor]:
    """Features (T, D) of several stretches in the world of the first one's first frame, over the lowest floor of all.
    joints (T, J, 3): of the same frames, in a world that they share."""
    own = [representation.part(features, 0, len(features)) for features in rows]
    alone = [_placing(features, places, representation) for features, places in zip(own, joints)]
    heading, origin = alone[0]
    origin = torch.stack([origin[0], torch.stack([place[1] for _, place in alone]).min(), origin[2]])
    found = []
    for features, places in zip(rows, joints):
        yaw, place = _placing(features, places, representation)
        shift = stitch.turn(place - origin, -heading)
        found.append(representation.moved(features, yaw - heading, shift))
    return found


def joints_in_one_world(clips: Sequence[Clip], representation: Representation) -> list[Tensor]:
    """Joints (T, J, 3) of the first clip and of the second, where there is one: those that they have, or else those
    that their features decode to; then the second is moved to where the first was going."""
    found = [
        representation.decode(clip.features).joints if clip.joints is None else clip.joints.detach().cpu()
        for clip in clips
    ]
    if len(clips) > 1 and clips[1].joints is None:
        found[1] = stitch.place_after(found[0], found[1], clips[1].start - clips[0].start - len(found[0]))
    return found


def _placing(features: Tensor, joints: Tensor, representation: Representation) -> tuple[Tensor, Tensor]:
    """The yaw () and the shift (3,) that lead from where features put their first frame to its joints."""
    pose, place = representation.decode(features[:2]).joints[0].double(), joints[0].double()
    yaw = stitch.yaw_between(pose, place)
    return yaw, place[0] - stitch.turn(pose, yaw)[0]
