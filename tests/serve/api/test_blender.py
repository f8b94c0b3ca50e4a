"""The Blender script in Blender itself: its bones are where the rotations of the stream put the joints.

Runs where a Python with Blender as a module is at hand (`pip install bpy` in an environment of its own, as it asks for
an older numpy), or Blender: named by $MLD_BLENDER, or `bpy` in this environment, or `blender` on the path.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mld.serve.client import Client
from tests.commands.conftest import ROOT
from tests.serve.api.conftest import WALK, running

FIGURE = Path(__file__).with_name("blender_figure.py")


def blender() -> list[str] | None:
    named = os.environ.get("MLD_BLENDER") or shutil.which("blender")
    if named:
        python = Path(named).name.startswith("python")
        return [named, str(FIGURE)] if python else [named, "--background", "--python", str(FIGURE)]
    return [sys.executable, str(FIGURE)] if importlib.util.find_spec("bpy") else None


def placed(about: dict, root: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """World positions (n, J, 3) of joints, y up: every joint by the turns above it."""
    world: list[tuple[np.ndarray, np.ndarray]] = []
    for joint, (offset, parent) in enumerate(zip(about["offsets"], about["parents"])):
        x, y, z, w = turns[:, joint].T
        own = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
                        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
                        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1).reshape(-1, 3, 3)  # fmt: skip
        if parent < 0:
            world.append((root, own))
        else:
            above, turned = world[parent]
            world.append((above + turned @ np.array(offset), turned @ own))
    return np.stack([at for at, _ in world], axis=1)


@pytest.mark.skipif(blender() is None, reason="Blender is not at hand; MLD_BLENDER names it, or a Python with bpy")
def test_bones_are_where_the_joints_are(streamer_folder: Path) -> None:
    """World positions of all bones in 60 frames, z up, against the same stream taken by the Python client."""
    with running("--model", streamer_folder, "--rate", 0) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        arguments = [str(ROOT / "clients" / "blender_stream.py"), host, port, WALK, "60"]
        done = subprocess.run([*blender(), "--", *arguments], capture_output=True, text=True, timeout=180)
        assert "FIGURE " in done.stdout, (done.stdout, done.stderr)

        async def joints() -> np.ndarray:
            async with Client(address).stream(WALK, seconds=2, data="rotations") as stream:
                chunks = [chunk async for chunk in stream]
            root, turns = (np.concatenate([chunk[i] for chunk in chunks]) for i in (3, 4))
            return placed(stream.about, root, turns)

        wanted = asyncio.run(joints())
    figure = json.loads(done.stdout.split("FIGURE ")[1].splitlines()[0])
    heads = np.array(figure["heads"])
    assert figure["bones"] == 22 and heads.shape == wanted.shape == (60, 22, 3)
    z_up = np.stack((wanted[..., 0], -wanted[..., 2], wanted[..., 1]), axis=-1)
    assert np.abs(heads - z_up).max() < 1e-3
    assert np.abs(heads[-1] - heads[0]).max() > 1e-2  # it moves
