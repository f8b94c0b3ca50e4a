"""Motion of smpl22 on the rigs of others: limbs point where they should, whatever the rig is like."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from mld.errors import DataError
from mld.motion.motion import Motion
from mld.motion.rig.guessing import find_joints
from mld.motion.rig.onto import carry_onto, without_swapped_sides
from mld.motion.rig.retarget import to_smpl22
from mld.motion.rig.rig import Rig
from mld.motion.rig.rigging import to_rig
from tests.motion.rigs_of_others import NAMES, rig_of
from tests.test_architecture import ROOT

LIMBS = [(f"{side}_{a}", f"{side}_{b}") for side in "lr"
         for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))]  # fmt: skip
UNREAD = ("a giant in centimetres", "z up", "mirrored names")  # import mends units, axes and sides in its own way
FACING = {"facing -x": torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])}


def leg(places: torch.Tensor, joints: Mapping[str, int]) -> float:
    way = [places[joints[f"l_{part}"]] for part in ("hip", "knee", "ankle")]
    return float((way[1] - way[0]).norm() + (way[2] - way[1]).norm())


def names_of(motion: Motion) -> dict[str, int]:
    return {name: joint for joint, name in enumerate(motion.skeleton.joint_names)}


@pytest.fixture(scope="module", params=["walk", "kick", "jump"])
def motion(request) -> Motion:
    return Motion.load(ROOT / f"demos/motions/{request.param}.npy")


@pytest.mark.parametrize("name", NAMES)
def test_limbs_point_where_they_do_in_the_motion(motion: Motion, name: str) -> None:
    """Within a degree; and hips, in lengths of legs, are where they were, from where the rig stands."""
    rig = rig_of(name)
    found = without_swapped_sides(rig, find_joints(rig))
    made = carry_onto(motion, rig)
    places = made.positions().double()
    source = to_rig(motion).positions().double() @ FACING.get(name, torch.eye(3)).double().T
    index = motion.skeleton.index
    for above, below in LIMBS:
        bone = places[:, found.joints[below]] - places[:, found.joints[above]]
        want = source[:, index(below)] - source[:, index(above)]
        assert float(torch.nn.functional.cosine_similarity(bone, want, dim=-1).min()) > 0.9995, (above, below)
    hips = places[:, [found.joints["l_hip"], found.joints["r_hip"]]].mean(1)
    want = source[:, [1, 2]].mean(1)
    scale = leg(rig.rest_positions(), found.joints) / leg(to_rig(motion).rig.rest_positions(), names_of(motion))
    torch.testing.assert_close(hips - hips[0], scale * (want - want[0]), atol=0.02 * scale, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_body_stands_on_the_floor_and_is_upright(motion: Motion, name: str) -> None:
    rig = rig_of(name)
    size = float(rig.rest_positions().norm(dim=-1).max())
    places = carry_onto(motion, rig).positions()
    joints = find_joints(rig).joints
    lowest = places[:, [joints[f"{side}_foot"] for side in "lr"], 1].amin(1)
    assert float(lowest.min().abs()) < 0.06 * size
    head = places[:, joints["head"], 1] - lowest
    assert float(head.median()) > 0.7 * size


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNREAD])
def test_it_comes_back_as_it_was(motion: Motion, name: str) -> None:
    """Read again as a file with such a rig is: joints relative to the pelvis, for a body of this size."""
    back, _ = to_smpl22(carry_onto(motion, rig_of(name)), up="y")
    turn = FACING.get(name, torch.eye(3))
    seen, want = (one.joints - one.joints[:, :1] for one in (back, motion))
    scale = float(seen[:, 4:6].norm() / want[:, 4:6].norm())
    far = (seen / scale - want @ turn.T).norm(dim=-1)
    assert float(far.mean()) < 0.035 and float(far.max()) < 0.12, far.mean(0)


def test_the_models_own_rig_gets_the_motion_exactly() -> None:
    walk = Motion.load(ROOT / "demos/motions/walk.npy")
    want = to_rig(walk, "mixamo")
    made = carry_onto(walk, want.rig)
    apart = made.positions() - want.positions()
    assert float((apart - apart.mean((0, 1))).norm(dim=-1).max()) < 0.002


def test_what_is_no_body_is_refused() -> None:
    rig = rig_of("mixamo with fingers")
    flat = Rig(rig.joint_names, rig.parents, torch.zeros(rig.num_joints, 3))
    with pytest.raises(DataError, match="no body stands on them"):
        carry_onto(Motion.load(ROOT / "demos/motions/walk.npy"), flat)
    with pytest.raises(DataError, match="cannot tell which joint"):
        carry_onto(Motion.load(ROOT / "demos/motions/walk.npy"), Rig(("a", "b"), (-1, 0), torch.ones(2, 3)))
