"""Parity of the 272-column representation: from SMPL parameters to features, and back to joints, parameters and BVH.

SMPL-85 rows are 66 axis-angle numbers, 6 zeros, the translation and 10 numbers of shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import roma
import torch
from torch import Tensor

from mld.motion import kinematics, rotations
from mld.motion.formats.bvh_write import write_bvh
from mld.motion.normalizer import statistics
from mld.motion.representations.motion272 import heading
from mld.motion.representations.registry import get_representation
from mld.motion.rig.rig import Rig, RigMotion
from tests.parity.harness import Case, runner

PUBLISHED = replace(get_representation("motion272"), compat=True)
TO_Y_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
JOINTS, HANDS, SHAPE = 22, 6, 10


@runner("motionstreamer.rep272")
def features(case: Case) -> Mapping[str, Any]:
    assert (case.config["joints"], case.config["fps"]) == (JOINTS, PUBLISHED.fps)
    found: dict[str, Any] = {"smpl85": _raw(case), "smpl85_mirror": _mirror(case, _parts(case.tensor("smpl85")))}
    for end in ("", "_mirror"):
        found[f"smpl85_facez{end}"] = _face_z(_parts(case.tensor(f"smpl85{end}")))
        body = _parts(case.tensor(f"smpl85_facez{end}"))
        found[f"joints{end}"] = _place(case, *body[:2])
        found[f"rep272{end}"] = PUBLISHED.encode_body(case.tensor(f"joints{end}").double(), body[0])
        found[f"recovered_joints{end}"], found[f"recovered_smpl85{end}"] = recovered_smpl85(case.tensor(f"rep272{end}"))
    start = int(case.tensor("window_start"))
    found["window_rep272"] = case.tensor("rep272")[start : start + case.config["window_length"]].float()
    for name in ("window", "noisy"):
        joints, parameters = recovered_smpl85(case.tensor(f"{name}_rep272"))
        found[f"{name}_recovered_joints"], found[f"{name}_recovered_smpl85"] = joints, parameters
    written = next(name for name in case.spec["extra_data"] if name.endswith(".bvh"))
    return found | {written: _bvh(case)}


@runner("motionstreamer.rep272_stats")
def stats(case: Case) -> Mapping[str, Any]:
    """Clips with NaN are left out before, by the data sources; the statistics themselves refuse them."""
    ends = [[part.start, part.stop] for part in PUBLISHED.blocks.values()]
    assert ends == case.config["groups"]
    clips = [case.tensor(name) for name in case.spec["inputs"]]
    mean, std = statistics([clip for clip in clips if clip.isfinite().all()], PUBLISHED)
    return {"mean": mean, "std": std}


def _raw(case: Case) -> Tensor:
    step = int(case.tensor("raw_fps") / case.tensor("ex_fps"))
    start, stop = case.tensor("frame_range").tolist()
    part = slice(start, None if stop == -1 else stop)
    poses, place = (case.tensor(name).double()[::step][part] for name in ("raw_poses", "raw_trans"))
    local = roma.rotvec_to_rotmat(poses.unflatten(-1, (-1, 3)))
    local[:, 0] = TO_Y_UP @ local[:, 0]
    return _rows(local, place @ TO_Y_UP.T, case.tensor("raw_betas")[:SHAPE])


def _mirror(case: Case, body: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    local, place, shape = body
    swap = list(PUBLISHED.skeleton.mirror_index)
    assert [list(pair) for pair in PUBLISHED.skeleton.mirror_pairs] == case.config["mirror_pairs"]
    return _rows(local[:, swap] * torch.outer(MIRROR, MIRROR), place * MIRROR, shape)


def _face_z(body: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    local, place, shape = body
    turn = rotations.turn_from_half_angle(-heading(local[0, 0]) / 2)
    local[:, 0] = rotations.turn_to_matrix(turn) @ local[:, 0]
    return _rows(local, rotations.apply_turn(turn, place), shape)


def _place(case: Case, local: Tensor, place: Tensor) -> Tensor:
    offsets = case.tensor("rest_offsets").double()[:JOINTS]
    parents = tuple(case.tensor("parents")[:JOINTS].tolist())
    return kinematics.forward(offsets[0] + place, local, offsets, parents)[0]


def recovered_smpl85(rows: Tensor) -> tuple[Tensor, Tensor]:
    local, place = PUBLISHED.decode_rotations(rows)
    return PUBLISHED.decode_joints(rows), _rows(local, place, place.new_zeros(SHAPE))


def _bvh(case: Case) -> str:
    local, place, _ = _parts(case.tensor("recovered_smpl85"))
    offsets = case.tensor("rest_offsets").double()
    still = torch.eye(3, dtype=local.dtype).expand(len(local), len(offsets) - JOINTS, 3, 3)
    rig = Rig(tuple(case.config["bvh"]["names"]), tuple(case.tensor("parents").tolist()), offsets)
    motion = RigMotion(rig, torch.cat([local, still], dim=1), offsets[0] + place, case.config["bvh"]["fps"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "motion.bvh")
        write_bvh(motion, path, order=case.config["bvh"]["euler"].split()[0], unit="m", compat=True)
        return path.read_text(encoding="utf-8")


def _parts(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Local rotations (T, 22, 3, 3), translations (T, 3) and shape (10,), float64."""
    exact = rows.double()
    turns = exact[:, : 3 * JOINTS].unflatten(-1, (-1, 3))
    return roma.rotvec_to_rotmat(turns), exact[:, -SHAPE - 3 : -SHAPE], exact[0, -SHAPE:]


def _rows(local: Tensor, place: Tensor, shape: Tensor) -> Tensor:
    turns = roma.rotmat_to_rotvec(local).flatten(1)
    frames = len(turns)
    return torch.cat([turns, turns.new_zeros(frames, HANDS), place, shape.to(turns).expand(frames, -1)], dim=1)
