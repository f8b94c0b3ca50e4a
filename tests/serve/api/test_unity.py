"""The Unity script, compiled and run: its transforms are where the rotations of the stream put the joints.

Mono compiles and runs it, whose libraries Unity has as well; the few types of Unity itself are stand-ins after its
documentation. Debian and Ubuntu: `apt-get install mono-mcs`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import ROOT
from tests.serve.api.conftest import free_port, running
from tests.serve.api.placing import placed_joints

WORDS = "a person walks forward"  # of the script
FRAMES, OTHER_WORDS = 120, 'they "sit" \\ down\tslowly\n.'
pytestmark = pytest.mark.skipif(not (shutil.which("mcs") and shutil.which("mono")), reason="mcs and mono are not here")


@pytest.fixture(scope="module")
def game(tmp_path_factory) -> Path:
    program = tmp_path_factory.mktemp("unity") / "game.exe"
    files = [str(ROOT / "clients" / "MotionStream.cs"), str(Path(__file__).with_name("unity_stand_in.cs"))]
    done = subprocess.run(["mcs", "-warn:4", "-warnaserror", f"-out:{program}", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return program


def test_transforms_are_where_the_joints_are(game: Path, streamer_folder: Path) -> None:
    """Left-handed, so x changes its sign; other words are said in the middle, with every letter that JSON escapes."""
    with running("--model", streamer_folder, "--rate", 0) as (address, _):
        socket = address.replace("http", "ws") + "/v1/stream"
        done = subprocess.run(["mono", str(game), socket, str(FRAMES), OTHER_WORDS], capture_output=True, text=True,
                              timeout=150)  # fmt: skip
        assert done.returncode == 0 and not done.stderr, (done.stdout[-300:], done.stderr)
        wanted = placed_joints(address, WORDS, FRAMES / 30)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [int(row[0]) for row in rows] == list(range(FRAMES))
    positions = np.array([row[1:] for row in rows], dtype=float).reshape(FRAMES, 22, 3)
    wanted = wanted * np.array([-1, 1, 1])
    half = FRAMES // 2
    assert np.abs(positions[:half] - wanted[:half]).max() < 1e-3
    assert np.abs(positions[half:] - wanted[half:]).max() > 1e-2  # by other words
    assert np.abs(positions[half] - positions[0]).max() > 1e-2  # it moves


def test_a_server_that_is_not_there_is_told(game: Path) -> None:
    """One line in Unity's console, and the game goes on."""
    address = f"ws://127.0.0.1:{free_port()}/v1/stream"
    process = subprocess.Popen(["mono", str(game), address, "1", "x"], stderr=subprocess.PIPE, text=True)
    try:
        assert re.match("WARNING .+", process.stderr.readline()) and process.poll() is None
    finally:
        process.kill()
        process.communicate()
