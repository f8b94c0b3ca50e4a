"""Real capture files of the shared data folder (skipped where it is absent), and small files made for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

RAW = Path(__file__).parents[3] / "shared" / "data" / "raw_samples"
needs_samples = pytest.mark.skipif(not RAW.is_dir(), reason="needs ../shared/data/raw_samples")

LIMBS = {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "sh": "Arm", "el": "ForeArm", "wr": "Hand"}
MAX_LIMBS = {"hip": "Hip", "knee": "Knee", "ankle": "Ankle", "foot": "Toe", "sh": "Shoulder", "el": "Elbow",
             "wr": "Wrist"}  # fmt: skip
ASF_LIMBS = {"hip": "femur", "knee": "tibia", "ankle": "foot", "foot": "toes", "sh": "humerus", "el": "radius",
             "wr": "wrist"}  # fmt: skip


def expected() -> dict[str, dict]:
    """What each sample file holds, by file; empty where the data are absent."""
    path = RAW / "expected_positions.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def joint_names(file: str) -> dict[str, str]:
    """Joint names of a sample file by the short names of the expected positions."""
    if file.endswith(".amc"):
        trunk = {"root": "root", "lb": "upperback", "ub": "thorax", "th": "lowerneck"}
        sides, limbs = ("l", "r"), ASF_LIMBS
    elif "3dsmax" in file:
        trunk = {"root": "Hips", "lb": "Chest", "ub": "Chest2", "th": "lowerneck"}
        sides, limbs = ("Left", "Right"), MAX_LIMBS
    else:
        trunk = {"root": "Hips", "lb": "Spine", "ub": "Spine1", "th": "Neck"}
        sides, limbs = ("Left", "Right"), LIMBS
    return trunk | {letter + short: side + name for letter, side in zip("lr", sides) for short, name in limbs.items()}


def check_positions(rig_motion, file: str) -> None:
    """Frames and joint positions of a sample file agree with the expected ones, which are rounded to 0.1 mm."""
    entry = expected()[file]
    assert rig_motion.num_frames == entry["frames"]
    if "positions" not in entry:
        return
    positions = rig_motion.positions()[entry["frame_index"]]
    for short, wanted in entry["positions"].items():
        found = positions[:, rig_motion.rig.index(joint_names(file)[short])]
        assert (found - torch.tensor(wanted)).abs().max() < 2e-4, short
