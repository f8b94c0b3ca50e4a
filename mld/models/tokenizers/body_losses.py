"""What is wrong with a rebuilt body, as losses: bones that change their lengths, feet that slide while they stand.

Optional: a term is computed where `losses:` of the config names it. The second is the foot loss of MDM (Tevet et al.,
ICLR 2023, eq. 5), over the ground too, with what the real foot does in place of nothing at all.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from mld.motion.representations.base import Representation

NAMES = frozenset({"bone_loss", "contact_loss"})
STANDS = 0.2  # metres per second; a slower foot joint is planted


def body_losses(
    representation: Representation, got: Tensor, want: Tensor, mask: Tensor, asked: Collection[str]
) -> dict[str, Tensor]:
    """Those of `NAMES` that are asked for, of raw features (B, T, D) and real ones, in rows where mask (B, T).

    bone_loss: mean distance of bone lengths, decimetres. contact_loss: mean distance of velocities of heels and toes
    where the real joint is planted, metres per second; 0 where none is."""
    if not NAMES & set(asked):
        return {}
    skeleton, metres = representation.skeleton, representation.skeleton.metres_per_unit
    made, real = (representation.decode_joints(features.float()) for features in (got, want))
    found = {}
    if "bone_loss" in asked:
        parents = list(skeleton.parents[1:])
        lengths = [(joints[:, :, 1:] - joints[:, :, parents]).norm(dim=-1)[mask] for joints in (made, real)]
        found["bone_loss"] = 10 * metres * (lengths[0] - lengths[1]).abs().mean()
    if "contact_loss" in asked:
        feet = [*skeleton.left_foot, *skeleton.right_foot]
        moves = [joints[:, :, feet].diff(dim=1) * (metres * representation.fps) for joints in (made, real)]
        planted = (moves[1].norm(dim=-1) < STANDS) & (mask[:, 1:] & mask[:, :-1])[..., None]
        apart = (moves[0] - moves[1])[planted].norm(dim=-1)
        found["contact_loss"] = apart.sum() / max(1, len(apart))
    return found
