"""The command that serves the page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from commands import app
from commands.app import main
from tests.commands.conftest import ROOT

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")


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
            config, headers = answer.read().decode(), answer.headers
        assert "Text to motion" in config
        assert '"analytics_enabled":false' in config.replace(" ", "")
        assert headers["content-security-policy"].startswith("default-src 'self'")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/motions/none/stage", timeout=20)
        taken = call(main, "--model", model_folder, "--port", port)
        assert taken.returncode == 2
        assert f"port {port}" in taken.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    assert process.returncode == 0
    assert not list(tmp_path.iterdir()), "nothing stays in the temporary folder"


@pytest.mark.parametrize(("arguments", "said"), [
    (("--port", 0), "not a port number"), (("--speech", "/nowhere"), "no Whisper model there"),
    (("--model", "/nowhere"), "no such model folder"),
])  # fmt: skip
def test_mistakes_are_told_at_the_start(call, arguments: tuple, said: str) -> None:
    outcome = call(main, *arguments)
    assert outcome.returncode == 2 and said in outcome.stderr


def test_folders_may_be_named_where_only_this_machine_asks() -> None:
    hosts = {"127.0.0.1": True, "::1": True, "localhost": True, "0.0.0.0": False, "192.168.1.2": False, "host": False}
    assert {host: app._is_this_machine(host) for host in hosts} == hosts
