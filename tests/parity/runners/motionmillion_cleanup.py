"""Parity runner of the published foot-sliding removal."""

from __future__ import annotations

from typing import Any

import roma
import torch

from mld.motion import kinematics
from mld.motion.cleanup import remove_sliding as published
from mld.motion.cleanup.damped_ik import reach
from mld.motion.euler import euler_to_matrix, matrix_to_euler
from tests.parity.harness import Case, runner


@runner("motionmillion.remove_sliding")
def remove_sliding(case: Case) -> dict[str, Any]:
    config, parents = case.config, tuple(case.arrays["parents"].tolist())
    settings = published.PublishedSettings(
        int(case.arrays["window_length"]), config["savgol_order"], tuple(config["contact_velocity_sq"]),
        tuple(config["contact_height"]), config["blend_window"], tuple(config["floor_slice"]), config["floor_max"],
        config["ik_iterations"], config["ik_damping"], tuple(config["root_savgol"]),
    )  # fmt: skip
    names = case.arrays["joint_names"].tolist()
    feet, hands = (published.index_of(names, config[ends]) for ends in ("feet", "hands"))
    rows = case.tensor("bvh_motion_in")
    order = config["euler_order"].upper()
    rotations = euler_to_matrix(torch.deg2rad(rows[:, 3:].unflatten(1, (-1, 3))), order)
    positions = case.tensor("offsets").repeat(len(rows), 1, 1)
    positions[:, 0] = rows[:, :3]

    joints, _ = kinematics.forward(positions[:, 0], rotations, positions, parents)
    smooth = published.smoothed(joints, settings)
    floor = published.floor_height(joints, feet, settings)
    targets = published.pinned(published.pinned(smooth, feet, settings), hands, settings)
    first, turned = (
        reach(rotations, positions, parents, targets, count, settings.damping) for count in (1, settings.iterations)
    )
    turns, places = published.upsampled(turned, published.lowered(positions, floor), settings)
    angles = torch.rad2deg(matrix_to_euler(roma.unitquat_to_rotmat(turns), order)).flatten(1)
    return {
        "foot_ids": feet, "hand_ids": hands, "quats_in": _w_first(rotations), "positions_in": positions,
        "global_in": joints, "global_savgol": smooth, "floor_height": floor,
        "foot_contact": published.contacts(smooth, feet, settings),
        "hand_contact": published.contacts(published.pinned(smooth, feet, settings), hands, settings),
        "ik_targets": targets, "quats_ik_iter1": _w_first(first), "quats_ik": _w_first(turned),
        "global_ik": kinematics.forward(positions[:, 0], turned, positions, parents)[0],
        "quats_out": roma.quat_xyzw_to_wxyz(turns), "positions_out": places,
        "bvh_motion_out": torch.cat([places[:, 0], angles], dim=1),
        "frametime_out": round(float(case.arrays["frametime_in"]) / config["upsample"], 6),
    }  # fmt: skip


def _w_first(rotations: torch.Tensor) -> torch.Tensor:
    return roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(rotations))
