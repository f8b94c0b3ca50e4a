"""Motions as other generators save them in `.npz`: joint positions with the rotations that made them.

Kimodo: posed_joints (T, J, 3), local_rot_mats and global_rot_mats (T, J, 3, 3); J is 77 or 30 for SOMA, 22 for SMPL-X.
HY-Motion: keypoints3d (T, 52, 3) around the person and transl (T, 3). Both in metres, y up, 30 frames per second.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import yaml

from mld.errors import MotionFormatError
from mld.motion.formats.smpl_npz import NOT_ROTATION
from mld.motion.rig.rig import Rig, RigMotion

FPS = 30.0
POSED, KEYPOINTS = "posed_joints", "keypoints3d"
TURNS = ("local_rot_mats", "global_rot_mats")
_ROBOT = 34  # joints of the Unitree G1
_MOVES = 0.05  # metres: a person that stays within it stays in place


def soma_motion(path: Path, joints: np.ndarray, local: np.ndarray, world: np.ndarray, fps: float) -> RigMotion:
    """The rig motion of SOMA joints (T, J, 3) with their rotations, relative and in the world (T, J, 3, 3).
    `MotionFormatError` for another skeleton, and where they do not fit each other."""
    table = soma_joints().get(joints.shape[1])
    if table is None:
        robot = " (a robot, not a person)" if joints.shape[1] == _ROBOT else ""
        raise MotionFormatError(
            f"{path}, array '{POSED}': {joints.shape[1]} joints{robot}; the skeletons of "
            f"{', '.join(map(str, soma_joints()))} and 22 joints are read"
        )
    for name, turns in zip(TURNS, (local, world)):
        if turns.shape != (*joints.shape, 3):
            raise MotionFormatError(f"{path}, array '{name}': shape {turns.shape}, the joints have {joints.shape}")
        off = np.abs(turns @ turns.swapaxes(-1, -2) - np.eye(3)).max((1, 2, 3))
        if not (off < NOT_ROTATION).all():
            frame = int((off >= NOT_ROTATION).argmax())
            raise MotionFormatError(f"{path}, array '{name}': not rotation matrices, first in row {frame}")
    names, parents = zip(*table)
    above = list(parents[1:])
    bones = torch.from_numpy(joints[:, 1:] - joints[:, above])
    seen = (torch.from_numpy(world[:, above]).transpose(-1, -2) @ bones[..., None]).squeeze(-1)
    offsets = torch.cat([torch.zeros(1, 3, dtype=torch.float64), seen.median(0).values])
    rig = Rig(names, parents, offsets)
    return RigMotion(rig, torch.from_numpy(local), torch.from_numpy(joints[:, 0]), fps, "soma", up="y")


def in_the_world(keypoints: np.ndarray, way: np.ndarray | None) -> np.ndarray:
    """Joints (T, J, 3) of HY-Motion at the places (T, 3) of their person, where they do not go there themselves."""
    if way is None or keypoints.ndim != 3 or way.shape != (len(keypoints), 3):
        return keypoints
    own, wanted = np.ptp(keypoints[:, 0], axis=0).max(), np.ptp(way, axis=0).max()
    return keypoints + way[:, None] if own < _MOVES < wanted else keypoints


@lru_cache(maxsize=1)
def soma_joints() -> dict[int, tuple[tuple[str, int], ...]]:
    """Names and parents of the joints, by their number."""
    table = yaml.safe_load(Path(__file__).with_name("soma.yaml").read_text(encoding="utf-8"))
    sides = ("Left", "Right")
    left_out = {name.format(side) for name in table["without"] for side in sides}
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    for kept in (None, table["fingers_kept"]):
        joints: list[tuple[str, str]] = [tuple(pair) for pair in table["trunk"]]
        joints += [(name, "Head") for name in table["head"]]
        for side in sides:
            joints += [(name.format(side), above.format(side)) for name, above in table["arm"]]
            joints += _fingers(f"{side}Hand", table["fingers"], kept)
        for side in sides:
            joints += [(name.format(side), above.format(side)) for name, above in table["leg"]]
        joints = [joint for joint in joints if kept is None or joint[0] not in left_out]
        places = {name: place for place, (name, _) in enumerate(joints)}
        found[len(joints)] = tuple((name, places.get(above, -1)) for name, above in joints)
    return found


def _fingers(hand: str, fingers: dict[str, list], kept: list[str] | None) -> list[tuple[str, str]]:
    joints = []
    for finger, parts in fingers.items():
        names = [f"{hand}{finger}{part}" for part in parts]
        joints += list(zip(names, [hand, *names[:-1]]))
    return joints if kept is None else [(name, hand) for name, _ in joints if name.removeprefix(hand) in kept]
