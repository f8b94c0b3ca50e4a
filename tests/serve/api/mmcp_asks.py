"""What tests ask of the server in MMCP, and how they read the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("motionmcp", reason="the extra 'mmcp' is not installed")

from motionmcp import client as official

from mld.motion.formats.gltf_read import read_rig
from mld.serve.mmcp.skeleton import canonical
from tests.serve.api.conftest import WALK

MODELS = ("streamer", "tiny")
SECOND = "a person waves."


def body(joints: list[dict] | None = None, model: str = "streamer", frames: int = 24, **more: Any) -> dict[str, Any]:
    asked = {
        "protocol_version": "1.0", "model": model, "skeleton": {"joints": joints or canonical()},
        "segments": [{"type": "text", "prompt": WALK, "duration_frames": frames}], "options": {"seed": 3},
    }  # fmt: skip
    return {**asked, **more}


def texts(*frames: int, words: tuple[str, ...] = (WALK, SECOND)) -> list[dict]:
    return [{"type": "text", "prompt": words[i % len(words)], "duration_frames": n} for i, n in enumerate(frames)]


def generated(address: str, asked: dict[str, Any], tmp_path: Path) -> tuple[list[dict], Any, dict]:
    """The official client's view of the answer, the file as our own importer reads it, and the extension."""
    document = official.generate(address, asked)
    path = tmp_path / "made.gltf"
    path.write_text(json.dumps(document), encoding="utf-8")
    return official.parse_gltf_samples(document), read_rig(path), document["extensions"]["MMCP_motion"]


def turns(sample: dict) -> torch.Tensor:
    return torch.from_numpy(sample["local_rot_mats"]).double()


def checked(samples: list[dict], asked: dict[str, Any], extension: dict[str, Any]) -> None:
    """What the contract says of every answer."""
    joints = asked["skeleton"]["joints"]
    frames = sum(one["duration_frames"] for one in asked["segments"]) or asked["duration_frames"]
    assert len(samples) == asked["options"].get("num_samples", 1) == len(extension["samples"])
    for number, (sample, about) in enumerate(zip(samples, extension["samples"])):
        assert about["name"] == f"sample_{number}" and about["num_frames"] == sample["num_frames"] == frames
        assert sample["joint_names"] == [joint["name"] for joint in joints]
        assert sample["hierarchy"] == [(joint["name"], joint["parent"]) for joint in joints]
        assert np.isfinite(sample["posed_joints"]).all() and np.isfinite(sample["local_rot_mats"]).all()
        assert all(0 < join < frames for join in about["chunk_boundaries"])
    assert extension["model"] == asked["model"] and extension["version"].startswith("1.")
    known = {joint["name"] for joint in joints}
    assert set(extension["canonical_to_request"]) <= {joint["name"] for joint in canonical()}
    assert set(extension["canonical_to_request"].values()) <= known


def world(sample: dict, asked: dict) -> torch.Tensor:
    """Joints (T, J, 3) as a reader of glTF places them."""
    joints = asked["skeleton"]["joints"]
    index = {joint["name"]: place for place, joint in enumerate(joints)}
    local, places, frames = turns(sample), [], []
    for place, joint in enumerate(joints):
        if joint["parent"] is None:
            places.append(torch.from_numpy(sample["posed_joints"][:, place]).double())
            frames.append(local[:, place])
        else:
            above = index[joint["parent"]]
            bone = torch.tensor(joint["rest_translation"], dtype=torch.float64)
            places.append(places[above] + frames[above] @ bone)
            frames.append(frames[above] @ local[:, place])
    return torch.stack(places, dim=1).float()
