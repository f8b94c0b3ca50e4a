"""The server as a process: what a user types, clients that leave in the middle, and a gentle end."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from commands.serve import main
from mld.motion.motion import Motion
from mld.serve.client import Client, Refused
from tests.commands.conftest import ROOT, call  # noqa: F401
from tests.serve.api.conftest import WALK, running
from tests.walking import walker

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(scope="module")
def address(streamer_folder: Path, model_folder: Path) -> Iterator[str]:
    with running("--model", streamer_folder, model_folder, "--grace", 3, "--patience", 3, "--rate", 0) as (address, _):
        yield address


def health(address: str) -> dict:
    with urllib.request.urlopen(f"{address}/v1/health", timeout=20) as answer:
        return json.load(answer)


def wait_for_no_stream(address: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while health(address)["streams"]:
        assert time.monotonic() < until, "a stream holds its place"
        time.sleep(0.1)


def test_the_client_asks_and_listens(address: str) -> None:
    async def run() -> None:
        async with Client(address) as client:
            assert [one["name"] for one in await client.models()] == ["streamer", "tiny"]
            motion = await client.generate(WALK, seconds=1, model="streamer")
            assert motion.num_frames == 30 and motion.rotations is not None
            assert isinstance(await client.describe(Motion(walker(40), 20.0)), str)
            with pytest.raises(Refused, match="no model 'x'"):
                await client.generate(WALK, model="x")
            async with client.stream(WALK, seconds=1, data="rotations") as stream:
                chunks = [chunk async for chunk in stream]
            assert sum(len(chunk.positions) for chunk in chunks) == 30 and chunks[0].rotations.shape == (4, 22, 4)
            with pytest.raises(Refused, match="prompt is empty"):
                async with client.stream(" "):
                    pass

    asyncio.run(run())
    with pytest.raises(Refused, match="cannot be reached"):
        asyncio.run(Client("http://127.0.0.1:9", timeout=5).models())


def test_a_connection_that_is_cut_loses_no_frame(address: str) -> None:
    """Cut twice in the middle, further apart than a stream is ahead: the frames are those of one that nobody cut."""

    async def run(cuts: tuple[int, ...]) -> tuple[np.ndarray, int]:
        async with Client(address).stream(WALK, seed=5, seconds=4) as stream:
            found = []
            async for chunk in stream:
                found.append(chunk.positions)
                if chunk.sequence in cuts:
                    stream._socket.transport.abort()
        return np.concatenate(found), stream.resumed

    whole, _ = asyncio.run(run(()))
    cut, resumed = asyncio.run(run((2, 14)))
    assert resumed == 2 and np.allclose(whole, cut, atol=2e-3)


def test_clients_that_are_killed_free_their_places(address: str, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom mld.serve.client import Client\n"
        "async def run():\n    async with Client(sys.argv[1]).stream('a person') as stream:\n"
        "        async for chunk in stream:\n            print(chunk.sequence, flush=True)\n"
        "            await asyncio.sleep(0.1)\n"
        "asyncio.run(run())"
    )
    process = subprocess.Popen([sys.executable, "-c", script, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "0"
    assert health(address)["streams"] == 1
    process.kill()
    process.communicate()
    wait_for_no_stream(address)


def test_a_client_that_never_reads_is_let_go(address: str) -> None:
    """Others get their frames meanwhile."""
    websocket = blender().WebSocket
    host, port = address.removeprefix("http://").split(":")
    silent = websocket(host, int(port), "/v1/stream")
    silent.send(json.dumps({"type": "start", "text": WALK}))

    async def run() -> int:
        async with Client(address).stream(WALK, seconds=2) as stream:
            return len([chunk async for chunk in stream])

    assert asyncio.run(run()) == 15
    wait_for_no_stream(address)
    silent.close()


@pytest.mark.parametrize("sent", [
    b"", b"\x00" * 200, b"GET /v1/stream HTTP/1.1\r\n", b"POST /v1/generate HTTP/1.1\r\n" * 50,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"a: b\r\n" * 20_000,
])  # fmt: skip
def test_connections_that_say_nonsense_disturb_nobody(address: str, sent: bytes) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as raw, contextlib.suppress(ConnectionError):
        raw.sendall(sent)
    assert health(address)["status"] == "ok"


def test_it_ends_gently(streamer_folder: Path, tmp_path: Path) -> None:
    """On SIGTERM streams are told and may end; nothing stays on disk, and the process ends with 0."""

    async def listen(address: str, process: subprocess.Popen) -> tuple[int, str]:
        async with Client(address).stream(WALK) as stream:
            count = 0
            with pytest.raises(Refused, match="the server is ending") as ended:
                async for _ in stream:
                    count += 1
                    if count == 3:
                        process.send_signal(signal.SIGTERM)
                    if count > 3:
                        await asyncio.sleep(0.1)
        return count, ended.value.code

    folder = tmp_path / "temporary"
    folder.mkdir()
    with running("--model", streamer_folder, "--drain", 2, TMPDIR=str(folder)) as (address, process):
        count, code = asyncio.run(listen(address, process))
        assert count > 3 and code == "closing"
        assert process.wait(30) == 0
    assert not list(folder.iterdir())


def test_a_token_is_asked_of_everybody(streamer_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")

    async def count(client: Client) -> int:
        async with client.stream(WALK, seconds=1) as stream:
            return len([chunk async for chunk in stream])

    with running("--model", streamer_folder, "--token-file", tmp_path / "token") as (address, _):
        assert asyncio.run(count(Client(address, TOKEN))) == 8
        with pytest.raises(Refused, match="token is needed") as refused:
            asyncio.run(count(Client(address)))
        assert refused.value.status == 401
        with pytest.raises(Refused, match="token is needed"):
            asyncio.run(Client(address, "another").models())


def test_the_page_beside_it(streamer_folder: Path, model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")
    from tests.serve.visitors import Visitor

    folders = ("--model", model_folder, streamer_folder)
    with running(*folders, "--page", TMPDIR=str(tmp_path)) as (address, process):
        with urllib.request.urlopen(f"{address}/config", timeout=20) as answer:
            assert "Text to motion" in answer.read().decode()
        visitor = Visitor(address)
        visitor.ask(WALK, seconds=1)
        assert "strip.svg" in str(visitor.follow())
        visitor.close()
        assert health(address)["status"] == "ok"
        request = urllib.request.Request(f"{address}/config", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not list(tmp_path.iterdir()), "nothing stays in the temporary folder"


@pytest.mark.parametrize(("arguments", "said"), [
    (("--port", 70000), "not a port number"), (("--lead", 0), "--lead 0"), (("--sessions", -1), "--sessions -1"),
    (("--model", "/nowhere"), "no such model folder"), (("--token-file", "/nowhere/token"), "No such file"),
])  # fmt: skip
def test_mistakes_are_told_at_the_start(call, arguments: tuple, said: str) -> None:  # noqa: F811
    outcome = call(main, *arguments)
    assert outcome.returncode == 2 and said in outcome.stderr


def test_more_mistakes(call, model_folder: Path, address: str, monkeypatch) -> None:  # noqa: F811
    port = address.rsplit(":", 1)[1]
    assert f"port {port}" in call(main, "--model", model_folder, "--port", port).stderr
    monkeypatch.setenv("MLD_TOKEN", "short")
    assert "16 or more" in call(main, "--model", model_folder).stderr
    monkeypatch.setenv("MLD_TOKEN", TOKEN)
    assert "leave out one of them" in call(main, "--model", model_folder, "--page").stderr


# clients


def blender() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blender_stream", ROOT / "clients" / "blender_stream.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_blender_script_needs_nothing_else() -> None:
    text = (ROOT / "clients" / "blender_stream.py").read_text()
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported <= set(sys.stdlib_module_names) | {"bpy"}


def test_the_blender_script_moves_bones(address: str, monkeypatch) -> None:
    """With a stand-in for Blender: bones are where the offsets put them, poses are those of the stream, z up."""
    script = blender()
    host, port = address.removeprefix("http://").split(":")
    timers, bones = [], {}

    class Bone(SimpleNamespace):
        def keyframe_insert(self, what: str, frame: float) -> None:
            self.keys.append((what, frame))

    def new_edit_bone(name: str) -> Bone:
        bones[name] = Bone(keys=[], parent=None)
        return bones[name]

    edit_bones = type("Edit", (), {"new": staticmethod(new_edit_bone), "__getitem__": lambda self, name: bones[name]})()
    armature = SimpleNamespace(edit_bones=edit_bones)
    found = {"__getitem__": lambda self, name: bones[name], "__iter__": lambda self: iter(bones.values())}
    pose = type("Pose", (), found)()
    thing = SimpleNamespace(pose=SimpleNamespace(bones=pose))
    bpy = SimpleNamespace(
        data=SimpleNamespace(armatures=SimpleNamespace(new=lambda name: armature),
                             objects=SimpleNamespace(new=lambda name, data: thing)),
        context=SimpleNamespace(
            scene=SimpleNamespace(collection=SimpleNamespace(objects=SimpleNamespace(link=lambda one: None))),
            view_layer=SimpleNamespace(objects=SimpleNamespace(active=None))),
        ops=SimpleNamespace(object=SimpleNamespace(mode_set=lambda mode: None)),
        app=SimpleNamespace(timers=SimpleNamespace(register=timers.append)),
    )  # fmt: skip
    monkeypatch.setattr(script, "KEYS", True)
    monkeypatch.setattr(script.Stream.__init__, "__defaults__", (host, int(port), ""))
    stream = script.run(bpy, WALK)
    until = time.monotonic() + 30
    while len(bones["pelvis"].keys) < 80 and time.monotonic() < until:
        timers[0]()
        time.sleep(0.01)
    stream.stop()
    assert [frame for what, frame in bones["pelvis"].keys if what == "location"][:40] == list(range(1, 41))
    assert bones["l_knee"].parent is bones["l_hip"] and bones["l_knee"].head[2] < bones["l_hip"].head[2] - 0.3
    assert abs(np.linalg.norm(bones["l_elbow"].rotation_quaternion) - 1) < 1e-3
    assert len(bones["pelvis"].location) == 3
    wait_for_no_stream(address)


def test_the_bridge_sends_and_writes(address: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        port, file = receiver.getsockname()[1], tmp_path / "walk.csv"
        done = subprocess.run(
            [sys.executable, "clients/udp_bridge.py", WALK, "--address", address, "--udp", f"127.0.0.1:{port}", "--csv",
             str(file), "--seconds", "1", "--joints", "pelvis", "l_wrist"], cwd=ROOT, capture_output=True, text=True,
            timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0 and "30 frames sent" in done.stdout, done.stderr
        packets = [receiver.recv(4096).decode().split(",") for _ in range(30)]
    with open(file, newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head[:5] == ["frame", "seconds", "pelvis.x", "pelvis.y", "pelvis.z"] and len(head) == 8
    assert [int(row[0]) for row in rows] == [int(packet[0]) for packet in packets] == list(range(30))
    assert np.allclose([list(map(float, row)) for row in rows], [list(map(float, one)) for one in packets], atol=1e-3)


def test_the_lines_of_the_documents_run(address: str, tmp_path: Path) -> None:
    """`docs/serving.md` as written, but for the address."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8").replace("http://127.0.0.1:8700", address)
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["bash", "python", "python"] and "from motionmcp" in blocks[-1][1]
    for kind, block in blocks if importlib.util.find_spec("motionmcp") else blocks[:-1]:
        command = ["bash", "-euo", "pipefail", "-c", block] if kind == "bash" else [sys.executable, "-c", block]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "walk.json").read_text())["answers"][0]["motion"]["frames"] > 0
    assert Motion.load(tmp_path / "jump.bvh").num_frames > 0
