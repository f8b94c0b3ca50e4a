"""Rigs as users have them: other names, more bones, other sizes, other rest poses, other axes."""

from __future__ import annotations

import math

import torch

from mld.motion.motion import Motion
from mld.motion.rig.rig import Rig
from mld.motion.rig.rigging import to_rig
from tests.walking import walker

NAMES = ("mixamo with fingers", "unreal in A-pose", "arms down", "a giant in centimetres", "a child", "facing -x",
         "z up", "root on the floor", "one spine bone", "five spine bones", "mirrored names")  # fmt: skip


def rig_of(name: str) -> Rig:
    """One of `NAMES`; each rests as a person stands, but for "z up", who lies."""
    base = to_rig(Motion(walker(8), 20.0), "unreal" if name == "unreal in A-pose" else "mixamo").rig
    if name == "mixamo with fingers":
        return _with(base, [("LeftHandIndex1", "mixamorig:LeftHand", (0.1, 0, 0)),
                            ("Hair", "mixamorig:Head", (0, 0.1, 0)),
                            ("LeftHandIndex2", "LeftHandIndex1", (0.03, 0, 0)),
                            ("LeftArmTwist", "mixamorig:LeftArm", (0.1, 0, 0))])  # fmt: skip
    if name in ("unreal in A-pose", "arms down"):
        degrees = 45 if name == "unreal in A-pose" else 85
        return _arms_down(base, degrees)
    if name == "a giant in centimetres":
        return base.scaled(100.0)
    if name == "a child":
        return base.scaled(0.6)
    if name == "facing -x":
        return _turned(base, torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    if name == "z up":
        return _turned(base, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
    if name == "root on the floor":
        parents = (-1, *(parent + 1 for parent in base.parents))
        offsets = torch.cat([torch.tensor([[0.5, 0.0, -0.25]]).double(), base.offsets])
        return Rig(("Armature", *base.joint_names), parents, offsets)
    if name == "one spine bone":
        return _without(base, {base.index("mixamorig:Spine1"), base.index("mixamorig:Spine2")})
    if name == "five spine bones":
        return _split(_split(base, "mixamorig:Spine1", "SpineA"), "mixamorig:Spine2", "SpineB")
    swap = {"Left": "Right", "Right": "Left"}
    names = [next((one.replace(a, b, 1) for a, b in swap.items() if a in one), one) for one in base.joint_names]
    return Rig(tuple(names), base.parents, base.offsets)


def joint_documents(rig: Rig) -> list[dict]:
    """The rig as MMCP writes it."""
    return [
        {"name": name, "parent": None if parent < 0 else rig.joint_names[parent],
         "rest_translation": offset.tolist(), "rest_rotation": [0.0, 0.0, 0.0, 1.0]}
        for name, parent, offset in zip(rig.joint_names, rig.parents, rig.offsets)
    ]  # fmt: skip


def node_documents(rig: Rig) -> list[dict]:
    """The rig as nodes that are turned a quarter about x, against the one above and back by turns, as exporters do."""
    angle = math.pi / 2
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float64)
    frames, documents = [], joint_documents(rig)
    for joint, parent in enumerate(rig.parents):
        own, sign = (turn, 1.0) if joint % 2 == 0 else (turn.T, -1.0)
        above = torch.eye(3).double() if parent < 0 else frames[parent]
        frames.append(above @ own)
        documents[joint]["rest_translation"] = (above.T @ rig.offsets[joint]).tolist()
        documents[joint]["rest_rotation"] = [sign * math.sin(angle / 2), 0.0, 0.0, math.cos(angle / 2)]
    return documents


def _with(rig: Rig, more: list[tuple[str, str, tuple[float, float, float]]]) -> Rig:
    names, parents, offsets = list(rig.joint_names), list(rig.parents), rig.offsets.tolist()
    for name, parent, offset in more:
        parents.append(names.index(parent))
        names.append(name)
        offsets.append(list(offset))
    return Rig(tuple(names), tuple(parents), torch.tensor(offsets))


def _without(rig: Rig, gone: set[int]) -> Rig:
    kept = [joint for joint in range(rig.num_joints) if joint not in gone]
    offsets, parents = rig.offsets.clone(), []
    for joint in kept:
        parent = rig.parents[joint]
        while parent in gone:
            offsets[joint] += rig.offsets[parent]
            parent = rig.parents[parent]
        parents.append(-1 if parent < 0 else kept.index(parent))
    return Rig(tuple(rig.joint_names[joint] for joint in kept), tuple(parents), offsets[kept])


def _split(rig: Rig, below: str, name: str) -> Rig:
    """The rig with a joint in the middle of the bone that ends in `below`."""
    joint = rig.index(below)
    names = [*rig.joint_names[:joint], name, *rig.joint_names[joint:]]
    parents = [parent if parent < joint else parent + 1 for parent in rig.parents]
    parents = [*parents[:joint], rig.parents[joint], joint, *parents[joint + 1 :]]
    half = rig.offsets[joint : joint + 1] / 2
    return Rig(tuple(names), tuple(parents), torch.cat([rig.offsets[:joint], half, half, rig.offsets[joint + 1 :]]))


def _turned(rig: Rig, turn: torch.Tensor) -> Rig:
    return Rig(rig.joint_names, rig.parents, rig.offsets @ turn.double().T)


def _arms_down(rig: Rig, degrees: float) -> Rig:
    offsets, angle = rig.offsets.clone(), math.radians(degrees)
    for joint, name in enumerate(rig.joint_names):
        side = 1.0 if name.endswith("_l") or "Left" in name else -1.0
        if any(part in name for part in ("ForeArm", "Hand", "lowerarm", "hand")):
            x, y, z = offsets[joint].tolist()
            c, s = math.cos(-side * angle), math.sin(-side * angle)
            offsets[joint] = torch.tensor([c * x - s * y, s * x + c * y, z])
    return Rig(rig.joint_names, rig.parents, offsets)
