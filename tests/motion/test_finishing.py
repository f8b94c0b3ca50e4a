"""Decoded features made steady and given bones of fixed lengths: against plain twins, frame by frame."""

from __future__ import annotations

import pytest
import torch

from mld.errors import DataError
from mld.metrics.physical import bone_spread, jerk
from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.motion.representations.fixed_bones import FOOT, SOFT, fixed
from mld.motion.representations.reconciling import ONWARD, STEADY, corrections, onward, reconciled
from mld.motion.representations.registry import get_representation
from tests.walking import walker

NAMES = ["humanml3d", "motion272"]
STEPS = ["steadied", "with_fixed_bones"]


def walk(representation: Representation) -> torch.Tensor:
    """Features (60, D) of a body that stands and then walks on a curve, on the skeleton's own body."""
    joints = walker(46, turning=0.02).double()
    joints = kinematics.retarget(torch.cat([joints[:1].expand(15, -1, -1), joints])[None], representation.skeleton)[0]
    return representation.encode(Motion(joints.float(), representation.fps))[:60]


def foretold(representation: Representation, seed: int = 0) -> torch.Tensor:
    """The walk as of a network: places tremble by 2 cm, steps by 3 mm."""
    features, generator = walk(representation), torch.Generator().manual_seed(seed)
    for role, size in (("positions", 0.02), ("velocities", 0.003)):
        columns = representation.columns(role)
        features[:, columns] += size * torch.randn(len(features), len(columns), generator=generator)
    return features


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_features_of_a_motion_stay(name: str, step: str) -> None:
    representation = get_representation(name)
    features = walk(representation)
    torch.testing.assert_close(getattr(representation, step)(features[None])[0][0], features, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_bones_of_a_network_get_the_lengths_of_the_skeleton_and_feet_stay(name: str) -> None:
    representation = get_representation(name)
    features, skeleton = foretold(representation), representation.skeleton
    made = representation.with_fixed_bones(features[None].double())[0][0]
    before, after = representation.decode_joints(features.double()), representation.decode_joints(made)
    assert bone_spread(before, skeleton.parents).min() > 0.02
    assert bone_spread(after, skeleton.parents).max() < 1e-4
    lengths = kinematics.bone_lengths(after, skeleton)[0]
    torch.testing.assert_close(lengths, torch.tensor(skeleton.bone_lengths[1:], dtype=torch.float64), atol=1e-4, rtol=0)
    feet = [*skeleton.left_foot, *skeleton.right_foot]
    low = before[:, feet, 1].argmin(1)[:, None, None].expand(-1, 1, 3)
    moved = (after - before)[:, feet].gather(1, low)[:, 0]
    assert (moved - moved[0] * moved.new_tensor([1, 0, 1])).norm(dim=-1).mean() < 0.01  # the world begins at the root
    assert moved[:, 1].abs().mean() < 0.005


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_places_and_velocities_agree_afterwards(name: str, step: str) -> None:
    representation = get_representation(name)
    made = getattr(representation, step)(foretold(representation)[None].double())[0]
    joints = representation.decode_joints(made)[0]
    # steadied once more, nothing is left to do: places follow velocities to the bit
    again = representation.decode_joints(representation.steadied(made)[0])[0]
    torch.testing.assert_close(again - again[:1, :1], joints - joints[:1, :1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_steadied_motion_trembles_less_and_is_nearer_to_the_truth(name: str) -> None:
    representation = get_representation(name)
    truth, rough = representation.decode_joints(walk(representation)), foretold(representation)
    steady = representation.decode_joints(representation.steadied(rough[None])[0][0])
    rough = representation.decode_joints(rough)
    assert jerk(steady).mean() < 0.5 * jerk(rough).mean()
    truth, rough, steady = (joints[10:, 1:] - joints[10:, :1] for joints in (truth, rough, steady))  # beyond the start
    assert (steady - truth).norm(dim=-1).mean() < 0.8 * (rough - truth).norm(dim=-1).mean()


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_corrections_are_the_least_squares_of_the_plain_twin(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    places, steps = torch.randn(2, count, 6, generator=generator, dtype=torch.float64)
    slips = torch.cat([steps[:-1] - places.diff(dim=0), places[:1]])  # what the last one holds is not read
    padded = torch.cat([slips, torch.full((9, 6), 5.0, dtype=torch.float64)])[None]
    mask = torch.arange(count + 9)[None] < count
    found = corrections(padded, mask)[0]
    want = reconciled(places, steps, torch.zeros(count, dtype=torch.bool)) - places
    torch.testing.assert_close(found[:count], want, atol=1e-8, rtol=0)
    assert STEADY > 1 and not found[count:].any()


def test_onward_corrections_are_those_of_the_filter_frame_by_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    slips = torch.randn(2, 300, 4, generator=generator, dtype=torch.float64)
    last = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    noise = 1 / ONWARD
    gain = 0.5 * ((noise**2 + 4 * noise) ** 0.5 - noise)
    whole, want = onward(slips, last), []
    for slip in slips.unbind(1):
        last = (1 - gain) * (last + slip)
        want.append(last)
    torch.testing.assert_close(whole, torch.stack(want, 1), atol=1e-8, rtol=0)


def test_fixed_poses_are_the_nearest_of_their_lengths() -> None:
    """The plain twin: a general solver for the least weighted squares under the same constraints."""
    scipy = pytest.importorskip("scipy.optimize")
    skeleton = get_representation("humanml3d").skeleton
    pose = kinematics.retarget(walker(1)[None].double(), skeleton)[0, 0]
    rough = pose + 0.01 * torch.randn(22, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    feet = [*skeleton.left_foot, *skeleton.right_foot]
    weights = torch.ones(22, dtype=torch.float64)
    weights[feet] += FOOT * torch.exp((rough[feet, 1].min() - rough[feet, 1]) / SOFT)

    def cost(x):
        return float((weights[:, None] * (torch.from_numpy(x).view(22, 3) - rough).square()).sum())

    def slope(x):
        return (2 * weights[:, None] * (torch.from_numpy(x).view(22, 3) - rough)).flatten().numpy()

    def bones(x):
        joints = torch.from_numpy(x).view(22, 3)
        lengths = (joints[1:] - joints[list(skeleton.parents[1:])]).norm(dim=-1)
        return (lengths - torch.tensor(skeleton.bone_lengths[1:], dtype=torch.float64)).numpy()

    start = pose.flatten().numpy().copy()
    best = scipy.minimize(cost, start, jac=slope, constraints={"type": "eq", "fun": bones}, method="SLSQP",
                          options={"maxiter": 60, "ftol": 1e-12})  # fmt: skip
    made = fixed(rough, skeleton)
    assert cost(made.flatten().numpy()) < 1.05 * best.fun
    assert abs(bones(made.flatten().numpy())).max() < 1e-9
    assert (made - torch.from_numpy(best.x).view(22, 3)).norm(dim=-1).max() < 0.004


@pytest.mark.parametrize("step", STEPS)
def test_padding_and_other_rows_do_not_matter(step: str) -> None:
    representation = get_representation("humanml3d")
    features = foretold(representation)
    alone = getattr(representation, step)(features[None, :40])[0][0]
    mask = torch.arange(60)[None] < torch.tensor([[40], [60]])
    batch = torch.stack([features, features])
    batch[0, 40:] = 7.0  # joints that coincide
    found = getattr(representation, step)(batch, mask)[0]
    torch.testing.assert_close(found[0, :40], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("sizes", [[4] * 15, [1, 30, 29]])
def test_pieces_of_272_columns_are_the_whole(step: str, sizes: list[int]) -> None:
    representation = get_representation("motion272")
    features = foretold(representation)[None].double()
    whole = getattr(representation, step)(features)[0]
    before, found = torch.zeros(1, 44, 3, dtype=torch.float64), []
    for piece in features.split(sizes, 1):
        made, before = getattr(representation, step)(piece, None, before)
        found.append(made)
    torch.testing.assert_close(torch.cat(found, 1), whole, atol=1e-8, rtol=0)


@pytest.mark.parametrize("step", STEPS)
def test_columns_that_cannot_say_so(step: str) -> None:
    with pytest.raises(DataError, match="motion276"):
        getattr(get_representation("motion276"), step)(torch.zeros(1, 4, 276))
