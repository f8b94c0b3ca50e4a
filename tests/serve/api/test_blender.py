"""The Blender script in Blender itself: its bones are where the rotations of the stream put the joints.

Runs where a Python with Blender as a module is at hand (`pip install bpy` in an environment of its own, as it asks for
an older numpy), or Blender: named by $MLD_BLENDER, or `bpy` in this environment, or `blender` on the path.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import ROOT
from tests.serve.api.conftest import WALK, running
from tests.serve.api.placing import placed_joints

FIGURE = Path(__file__).with_name("blender_figure.py")


def blender() -> list[str] | None:
    named = os.environ.get("MLD_BLENDER") or shutil.which("blender")
    if named:
        python = Path(named).name.startswith("python")
        return [named, str(FIGURE)] if python else [named, "--background", "--python", str(FIGURE)]
    return [sys.executable, str(FIGURE)] if importlib.util.find_spec("bpy") else None


@pytest.mark.skipif(blender() is None, reason="Blender is not at hand; MLD_BLENDER names it, or a Python with bpy")
def test_bones_are_where_the_joints_are(streamer_folder: Path) -> None:
    """World positions of all bones in 60 frames, z up, against the same stream taken by the Python client."""
    with running("--model", streamer_folder, "--rate", 0) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        arguments = [str(ROOT / "clients" / "blender_stream.py"), host, port, WALK, "60"]
        done = subprocess.run([*blender(), "--", *arguments], capture_output=True, text=True, timeout=180)
        assert "FIGURE " in done.stdout, (done.stdout, done.stderr)

        wanted = placed_joints(address, WALK, 2)
    figure = json.loads(done.stdout.split("FIGURE ")[1].splitlines()[0])
    heads = np.array(figure["heads"])
    assert figure["bones"] == 22 and heads.shape == wanted.shape == (60, 22, 3)
    z_up = np.stack((wanted[..., 0], -wanted[..., 2], wanted[..., 1]), axis=-1)
    assert np.abs(heads - z_up).max() < 1e-3
    assert np.abs(heads[-1] - heads[0]).max() > 1e-2  # it moves
