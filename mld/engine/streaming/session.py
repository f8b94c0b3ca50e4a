"""One motion without an end: its words, its place in the world, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from mld.engine.body import body_offsets
from mld.example import Clip
from mld.motion import kinematics, stitch
from mld.motion.representations.base import FeatureStream, Representation

EndPolicy = Literal["continue", "hold", "stop"]


@dataclass(frozen=True, eq=False)
class Chunk:
    """joints (n, J, 3): world positions in metres, on the model's body. features (n, D): raw. start: number of its
    first frame. text: the words that it follows. seconds: what making it took, by part. ended: no more follows."""

    joints: Tensor
    features: Tensor
    start: int
    text: str
    seconds: dict[str, float] = field(default_factory=dict)
    ended: bool = False

    @property
    def num_frames(self) -> int:
        return len(self.features)

    def first(self, frames: int) -> Chunk:
        """No more than its first frames."""
        return replace(self, joints=self.joints[:frames], features=self.features[:frames])


@dataclass(eq=False)
class Session:
    """row: its place in the batch. made: tokens, or chunks of `frames_per_token` frames, so far. texts: words by the
    frame from which they hold. taken: frames that whoever listens has; the others are ahead."""

    row: int
    seed: int
    end: EndPolicy
    frames_per_token: int
    texts: list[tuple[int, str]] = field(default_factory=list)
    made: int = 0
    taken: int = 0
    paused: bool = False
    ended: bool = False

    @property
    def frames(self) -> int:
        """Frames so far."""
        return self.made * self.frames_per_token

    @property
    def text(self) -> str:
        """The words in force."""
        return self.texts[-1][1] if self.texts else ""


class Recovery:
    """World joints of features that come in, on one body: bones have the lengths of the model's.

    A motion begins at the origin and faces along +z, or where `follow` has put it. y is up, metres."""

    def __init__(self, representation: Representation) -> None:
        self.representation = representation
        self.stream: FeatureStream = representation.stream()
        self.lengths = body_offsets(representation.skeleton)[1:].norm(dim=-1)
        self.yaw, self.shift = torch.zeros((), dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def push(self, rows: Tensor) -> Tensor:
        """Joints (n, J, 3) float32 of the next raw rows (n, D)."""
        return push_together([self], rows[None])[0]

    def follow(self, clip: Clip) -> None:
        """Go on where a given motion ends, in its world."""
        joints = self._positions(clip.features)
        if clip.joints is not None:
            last, end = joints[-1], clip.joints[-1].double()
            self.yaw = stitch.yaw_between(last, end)
            moved = end[0] - stitch.turn(last, self.yaw)[0]
            self.shift = moved * moved.new_tensor([1.0, 0.0, 1.0])

    def held(self) -> tuple[Tensor, ...]:
        """What goes on with the next rows."""
        state = () if self.stream.state is None else tuple(torch.as_tensor(part) for part in self.stream.state)
        return (self.yaw, self.shift, *state)

    def restore(self, held: tuple[Tensor, ...]) -> None:
        """Put back what `held` gave."""
        self.yaw, self.shift, *state = held
        self.stream.state = tuple(state) or None

    def _positions(self, rows: Tensor) -> Tensor:
        """World positions (n, J, 3) float64 as the features have them."""
        joints = self.stream.push(rows.double().cpu()) * self.representation.skeleton.metres_per_unit
        return stitch.turn(joints, self.yaw) + self.shift


def push_together(recoveries: Sequence[Recovery], rows: Tensor) -> Tensor:
    """Joints (B, n, J, 3) float32 of the next raw rows (B, n, D) of B sessions of one representation, in one pass for
    those that have begun and one for those that begin."""
    first = recoveries[0]
    representation, skeleton = first.representation, first.representation.skeleton
    made = torch.empty(*rows.shape[:2], skeleton.num_joints, 3)
    rows = rows.double().cpu()
    for begun in (True, False):
        chosen = [i for i, one in enumerate(recoveries) if (one.stream.state is not None) == begun]
        if not chosen:
            continue
        group = [recoveries[i] for i in chosen]
        joints, state = representation.follow(rows[chosen], _stacked([one.stream.state for one in group]))
        for row, one in enumerate(group):
            one.stream.state = _row(state, row)
        yaw, shift = torch.stack([one.yaw for one in group]), torch.stack([one.shift for one in group])
        joints = stitch.turn(joints * skeleton.metres_per_unit, yaw[:, None, None]) + shift[:, None, None]
        bones = kinematics.bone_directions(joints, skeleton) * first.lengths[:, None]
        made[chosen] = kinematics.place(joints[..., 0, :], bones, skeleton).float()
    return made


def _stacked(states: Sequence[Any]) -> Any:
    """States of `follow` of single motions as that of a batch."""
    if states[0] is None:
        return None
    if isinstance(states[0], Tensor):
        return torch.stack(list(states))
    return tuple(torch.stack([torch.as_tensor(part) for part in parts]) for parts in zip(*states, strict=True))


def _row(state: Any, row: int) -> Any:
    """The state of one motion out of that of a batch."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state[row]
    return tuple(part[row] for part in state)
