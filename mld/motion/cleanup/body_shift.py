"""How a body goes along when its feet are moved: the smooth shift of the pelvis that lets knees stay where they were.

Moving an ankle by d and the hip by s changes the length of a leg by u (d - s), u being its direction, and that moves
the knee sideways, the more the straighter the leg is. The shift makes the sum of squares of these least, and of its own
bending, a sparse linear system over all frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.motion.cleanup.contacts import Leg
from mld.motion.cleanup.smoothing import PINNED

_CALM = 0.1  # seconds: what is shorter in the feet's movement is left to the legs
_FOLLOW = 0.1  # weight of going where standing feet go, in the plane, against that of still knees
_STAY = 0.003  # weight of not moving at all
_STRAIGHTEST = 0.04  # metres between knee and line from hip to ankle; a straighter leg counts no more


def body_shift(
    joints: Tensor, legs: Sequence[Leg], moved: Tensor, standing: Tensor, fps: float, keep: Tensor
) -> Tensor:
    """The shift (T, 3) of the pelvis of joints (T, J, 3) whose ankles are moved by `moved` (T, L, 3).

    standing (T, L) bool: whether the foot stands; keep (T,) bool: frames in which the pelvis has to stay.
    """
    system, wanted = joints.new_zeros(len(joints), 3, 3), joints.new_zeros(len(joints), 3)
    plane = torch.diag(joints.new_tensor([1.0, 0.0, 1.0]))
    for side, leg in enumerate(legs):
        line, bend = joints[:, leg.ankle] - joints[:, leg.hip], _bend(joints, leg)
        effect = (line / (4 * bend.clamp_min(_STRAIGHTEST))[:, None])[..., None]  # on the knee, per metre of shift
        terms = effect @ effect.transpose(1, 2) + _FOLLOW * standing[:, side, None, None] * plane
        system += terms
        wanted += (terms @ moved[:, side, :, None])[..., 0]
    system += (_STAY + PINNED * keep.double())[:, None, None] * torch.eye(3, dtype=joints.dtype)
    return _solve(system, wanted, (_CALM * fps) ** 4)


def _bend(joints: Tensor, leg: Leg) -> Tensor:
    """How far (T,) the knee is from the line between hip and ankle, metres."""
    line, knee = joints[:, leg.ankle] - joints[:, leg.hip], joints[:, leg.knee] - joints[:, leg.hip]
    return torch.linalg.cross(line, knee).norm(dim=-1) / line.norm(dim=-1).clamp_min(1e-9)


def _solve(system: Tensor, wanted: Tensor, stiffness: float) -> Tensor:
    """The curve s (T, 3) of least s' system s - 2 s' wanted + stiffness * (second differences of s)^2 over frames."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    frames = len(wanted)
    rows = range(frames)
    blocks = sparse.bsr_matrix((system.numpy(), rows, range(frames + 1)), shape=(3 * frames, 3 * frames)).tocsc()
    if frames > 2:
        bending = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(frames - 2, frames))
        blocks = blocks + stiffness * sparse.kron(bending.T @ bending, sparse.eye(3), format="csc")
    return torch.from_numpy(spsolve(blocks, wanted.numpy().ravel())).view(frames, 3)
