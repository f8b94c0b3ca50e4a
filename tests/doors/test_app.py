"""The browser page: answers and messages of its functions, and the served page itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from doors.app import main
from mld.engine.pipeline import Pipeline
from mld.serve import ui
from tests.doors.conftest import ROOT

pytest.importorskip("gradio", reason="the extra 'ui' is not installed")


@pytest.fixture(scope="module")
def studio(model_folder: Path):
    made = ui.Studio(Pipeline.load(model_folder))
    yield made
    made.close()


def test_text_becomes_a_video_and_a_file(studio: ui.Studio) -> None:
    video, file, message = studio.make("a person walks", 1.0, 3)
    assert Path(video).stat().st_size > 1000
    assert Path(file).suffix == ".npy"
    assert "1.0 s" in message


def test_a_motion_becomes_a_caption(studio: ui.Studio, motions: Path) -> None:
    caption, video, message = studio.tell(str(motions / "walk.npy"), 0)
    assert caption
    assert Path(video).is_file()
    assert "60 frames" in message


@pytest.mark.parametrize("text", [None, "", "   ", "walk " * 100])
def test_texts_that_cannot_be_used_give_a_message(text: str | None, studio: ui.Studio) -> None:
    video, file, message = studio.make(text, 0, None)
    assert video is None
    assert file is None
    assert message


def test_uploads_that_cannot_be_used_give_a_message(studio: ui.Studio, motions: Path) -> None:
    assert studio.tell(None, 0)[2]
    caption, video, message = studio.tell(str(motions / "broken.npy"), 0)
    assert (caption, video) == ("", None)
    assert message.startswith("broken.npy")


def test_only_the_last_results_stay_on_disk(studio: ui.Studio, monkeypatch) -> None:
    monkeypatch.setattr(ui, "KEPT", 2)
    folders = [Path(studio.make("walk", 0.4, seed)[0]).parent for seed in range(ui.KEPT + 1)]
    assert not folders[0].exists()
    assert folders[-1].exists()


def test_the_command_serves_this_machine_and_cleans_up(call, model_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "app.py", "--model", str(model_folder), "--port", str(port)], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=20) as answer:
            config = answer.read().decode()
        assert "Make the motion" in config
        assert '"analytics_enabled":false' in config.replace(" ", "")
        taken = call(main, "--model", model_folder, "--port", port)
        assert taken.returncode == 2
        assert f"port {port}" in taken.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert process.returncode == 0
    assert not list(tmp_path.glob("mld-ui-*"))
