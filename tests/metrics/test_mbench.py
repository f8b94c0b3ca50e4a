"""MBench's joint dimensions: a plain twin, loop by loop, and motions with one defect each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from mld.errors import DataError
from mld.metrics.mbench import NAMES, aggregate, motion_quality
from tests.walking import walker


def twin(joints: np.ndarray, up: int) -> dict[str, float]:
    """Spec mbench, section 3, one frame after the other; joints (T, 22, 3), T > 2."""
    joints = joints.astype(np.float32)
    frames, plane = len(joints), [axis for axis in range(3) if axis != up]
    velocity = [joints[min(t, frames - 2) + 1] - joints[min(t, frames - 2)] for t in range(frames)]
    feet = {i: joints[:, i] for i in (10, 11)}
    norm = np.linalg.norm
    contact = {i: [norm(velocity[t][i]) < 0.01 or feet[i][t, up] < 0.02 for t in range(frames)] for i in feet}
    root = [norm(velocity[t][0]) for t in range(frames)]
    ratio = {i: [norm(velocity[t][i] - velocity[t][0]) / (root[t] + 1e-6) for t in range(frames)] for i in feet}

    def length(values, order):
        return np.mean([[norm(v) for v in row] for row in np.diff(values, n=order, axis=0)])

    def bad(t, i):
        speed = norm(velocity[t][i])
        slow, fast = ratio[i][t] < 0.6 and speed > 1.2e-4, ratio[i][t] > 1.75 and speed > 1.2e-4 and root[t] > 1.2e-4
        return root[t] >= 0.001 and (slow or fast)

    invalid = 0
    for t in range(frames):
        touching = [i for i in feet if contact[i][t]]
        invalid += bool(touching) and all(bad(t, i) for i in touching)
    runs: dict[int, list[tuple[int, int]]] = {}
    hanging = 0
    for i in feet:
        runs[i], first = [], None
        for t in range(frames + 1):
            if t < frames and not contact[i][t]:
                first = t if first is None else first
            elif first is not None:
                if t - first >= 4:
                    runs[i].append((first, t - 1))
                first = None
        for first, last in runs[i]:
            if sum(root[t] < 0.001 for t in range(first, last + 1)) <= (last - first + 1) / 2:
                hanging += sum(ratio[i][t] < 0.4 for t in range(first, last + 1))
    aloft = 0
    for a, b in runs[10]:
        for c, d in runs[11]:
            first, last = max(a, c), min(b, d)
            if first < last and last - first + 1 >= 4:
                whole = feet[10][last] - feet[10][first]
                angles = []
                for t in range(first + 1, last + 1):
                    way = feet[10][t] - feet[10][first]
                    dot = np.dot(way / (norm(way) + 1e-6), whole / (norm(whole) + 1e-6))
                    angles.append(np.degrees(np.arccos(np.clip(dot, -1, 1))))
                aloft += last - first + 1 if len(find_peaks(angles)[0]) > 2 else 0
    depths = [abs(feet[i][t, up]) for i in feet for t in range(frames) if feet[i][t, up] < -0.005]
    moved = {i: sum(norm(velocity[t][i][plane]) for t in range(frames) if contact[i][t]) for i in feet}
    slides = [moved[i] / (sum(contact[i]) + 1e-6) for i in feet]
    local = joints - joints[:, :1]
    return {
        "Jitter_Degree": length(joints, 2) + length(local, 2), "Ground_Penetration": np.mean(depths) if depths else 0.0,
        "Foot_Floating": (invalid + hanging / 2 + aloft) / frames, "Foot_Sliding": sum(slides) / 2,
        "Dynamic_Degree": length(joints, 1) + length(local, 1),
    }  # fmt: skip


def wandering(seed: int, frames: int) -> torch.Tensor:
    """A walk whose root stops and goes, and whose feet fly, slide and sink by turns."""
    random = np.random.default_rng(seed)
    joints = walker(frames, yaw=random.uniform(0, 3)).numpy().copy()
    gates = np.repeat(random.random((frames // 7 + 1, 3)) < 0.5, 7, axis=0)[:frames]
    joints += np.cumsum(gates[:, :1] * random.normal(0, 0.004, (frames, 3)), axis=0)[:, None]
    for number, foot in enumerate((10, 11), start=1):
        joints[:, foot] += gates[:, number, None] * (random.normal(0, 0.03, (frames, 3)) + [0, 0.1, 0])
        joints[:, foot, 1] -= (random.random(frames) < 0.1) * 0.05
    return torch.from_numpy(joints.astype(np.float32))


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_a_plain_twin_gives_the_same(seed, up):
    joints = wandering(seed, 40 + 7 * seed)
    assert motion_quality(joints, up) == pytest.approx(twin(joints.numpy(), up), rel=1e-6, abs=2e-7)


def test_the_motions_of_the_twin_reach_every_part():
    found = [motion_quality(wandering(seed, 40 + 7 * seed), 1) for seed in range(8)]
    assert all(len({score[name] for score in found}) > 5 for name in NAMES)


def test_height_is_along_the_given_axis():
    """A turn from y up to z up with the axis told changes nothing; without it a sunk foot is not seen."""
    sunk = walker(40) - torch.tensor([0, 0.06, 0])
    z_up = sunk @ torch.tensor([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]).T
    assert motion_quality(sunk, 1) == pytest.approx(motion_quality(z_up, 2), abs=1e-6)
    assert motion_quality(sunk, 1)["Ground_Penetration"] == pytest.approx(0.04, abs=0.02)
    lifted = sunk + torch.tensor([0, 0, 5.0])
    assert motion_quality(lifted, 2)["Ground_Penetration"] == 0


def test_short_motions_have_no_number_where_none_can_be():
    """Spec mbench_supplement, 2.3: a single frame has heights and stands still."""
    one, two, three = (motion_quality(walker(frames), 1) for frames in (1, 2, 3))
    assert {name for name in NAMES if math.isnan(one[name])} == {"Jitter_Degree", "Foot_Floating", "Dynamic_Degree"}
    assert one["Foot_Sliding"] == 0
    assert {name for name in NAMES if math.isnan(two[name])} == {"Jitter_Degree"}
    assert not any(math.isnan(value) for value in three.values())


def test_a_broken_coordinate_is_no_number_and_not_zero():
    joints = walker(30)
    joints[4, 20, 0] = math.nan
    assert all(math.isnan(value) for value in motion_quality(joints).values())


@pytest.mark.parametrize(("shape", "words"), [((30, 24, 3), "24"), ((0, 22, 3), "(0, 22, 3)"), ((30, 66), "66")])
def test_another_shape_is_refused(shape, words):
    with pytest.raises(DataError, match="MBench scores") as refused:
        motion_quality(torch.zeros(shape))
    assert words in str(refused.value)
    with pytest.raises(DataError, match="no axis 3"):
        motion_quality(walker(5), up=3)


def test_aggregate_is_the_mean_and_the_spread_of_the_population():
    assert aggregate([1.0, 3.0]) == {"mean": 2.0, "std": 1.0, "num_samples": 2}
    assert aggregate([5.0]) == {"mean": 5.0, "std": 0.0, "num_samples": 1}
    assert aggregate([]) == {"mean": 0.0, "std": 0.0, "num_samples": 0}
    assert math.isnan(aggregate([1.0, math.nan])["mean"])
