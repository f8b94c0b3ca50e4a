"""Small dataset folders of both layouts, written by the tests, and the way to the real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mld.data.config import DataConfig
from mld.motion.skeletons import get_skeleton

REPOSITORY = Path(__file__).parents[2]
SPLITS = {"train": ["walk0", "walk1", "walk2", "walk3"], "val": ["hop0"], "test": ["turn0", "turn1"]}


@pytest.fixture
def real_data() -> Path:
    folder = REPOSITORY.parent / "shared" / "data" / "cmu-mocap-text"
    if not folder.is_dir():
        pytest.skip("the real motion data (../shared/data/cmu-mocap-text) is not on this machine")
    return folder


def figure(frames: int, seed: int = 0) -> np.ndarray:
    """Joints (frames, 22, 3), metres, of a figure that glides along a curve, bobs and swings its left arm."""
    skeleton = get_skeleton("smpl22")
    rest = np.zeros((22, 3))
    for joint in range(1, 22):
        offset = np.asarray(skeleton.raw_offsets[joint]) * skeleton.bone_lengths[joint]
        rest[joint] = rest[skeleton.parents[joint]] + offset
    rest[:, 1] -= rest[:, 1].min()
    time = np.arange(frames) / 20
    joints = np.repeat(rest[None], frames, axis=0)
    joints[:, [18, 20], 1] += 0.1 * np.sin(time * (2 + seed))[:, None]
    yaw = 0.3 * np.sin(time)
    sine, cosine = np.sin(yaw)[:, None], np.cos(yaw)[:, None]
    x, z = joints[..., 0].copy(), joints[..., 2].copy()
    joints[..., 0], joints[..., 2] = cosine * x + sine * z, cosine * z - sine * x
    joints[..., 1] += 0.05 * (1 + np.sin(5 * time))[:, None]
    joints[..., 2] += ((0.9 + 0.1 * seed) * time - 0.2 * np.cos(3 * time))[:, None]
    return joints.astype(np.float32)


@pytest.fixture
def joints_folder(tmp_path: Path) -> Path:
    """Seven clips, 60 frames each; `walk3` is of quality fair."""
    root = tmp_path / "joints"
    (root / "splits").mkdir(parents=True)
    trials, lines = {}, []
    for number, name in enumerate(name for names in SPLITS.values() for name in names):
        trials[f"trial_{name}"] = figure(64, number)
        row = {"id": name, "trial": f"trial_{name}", "start": 2, "end": 62, "label": name[:-1], "group": "test"}
        row |= {"captions": [f"a person does {name} with the left arm."]}
        row |= {"quality": "fair" if name == "walk3" else "good"}
        lines.append(json.dumps(row))
    (root / "clips.jsonl").write_text("\n".join(lines) + "\n")
    np.savez(root / "trials.npz", **trials)
    for split, names in SPLITS.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def humanml3d_folder(tmp_path: Path) -> Path:
    """Seven clips of 50, 51, ... frames of random features, rotations of length 1, with one whole-clip caption each."""
    root = tmp_path / "humanml3d"
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True)
    for split, names in SPLITS.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    for number, name in enumerate(name for names in SPLITS.values() for name in names):
        write_features(root, name, 50 + number)
        write_texts(root, name, f"a person does {name}.#a/DET person/NOUN do/VERB#0.0#0.0\n")
    return root


def write_features(root: Path, name: str, frames: int, width: int = 263) -> np.ndarray:
    features = np.random.default_rng(frames).normal(size=(frames, width)).astype(np.float32)
    first, last = {263: (67, 193), 251: (64, 184)}[width]
    columns = features[:, first:last].reshape(frames, -1, 3)
    columns /= np.linalg.norm(columns, axis=-1, keepdims=True)
    features[:, first:last] = columns.reshape(frames, -1)
    np.save(root / "new_joint_vecs" / f"{name}.npy", features)
    return features


def write_texts(root: Path, name: str, text: str) -> None:
    (root / "texts" / f"{name}.txt").write_bytes(text.encode())


def humanml3d_config(root: Path, **changes) -> DataConfig:
    return DataConfig(source="humanml3d", root=str(root), **changes)


def joints_config(root: Path, **changes) -> DataConfig:
    return DataConfig(source="joints", root=str(root), **changes)
