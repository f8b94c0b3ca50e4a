"""`mld serve --shards 2`: Ray Serve on this machine, as a user starts it. Sessions come back to the process that holds
them; a process that dies takes its own sessions and no others.

Starting Ray takes a minute or more on two processors, so it runs where MLD_TEST_RAY is set (CONTRIBUTING.md)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commands.serve import main
from mld.errors import RequestError
from mld.serve.client import Client, Refused
from tests.commands.conftest import ROOT, call, model_folder  # noqa: F401
from tests.serve.api.conftest import WALK, running

HERE = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(
    not (HERE and os.environ.get("MLD_TEST_RAY")), reason="needs the extra 'ray' and MLD_TEST_RAY=1 (CONTRIBUTING.md)"
)


@pytest.fixture(scope="module")
def served(streamer_folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    with running("--model", streamer_folder, "--shards", 2, "--rate", 0, "--device", "cpu") as made:
        yield made


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def pid_of(shard: int) -> int:
    """Of the process in which Ray runs a shard."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"ServeReplica:mld:shard-{shard}".encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    assert len(found) == 1, found
    return found[0]


@with_ray
def test_cut_connections_come_back_to_their_shard(served) -> None:
    """Four streams at once, two in each shard, each cut off three times: their frames are those of streams uncut."""
    address, _ = served

    async def run(seed: int, cuts: tuple[int, ...]) -> tuple[np.ndarray, int, str]:
        async with Client(address).stream(WALK, seed=seed, seconds=4) as stream:
            session, found = stream.about["session"], []
            async for chunk in stream:  # raises where a number comes twice or not at all
                found.append(chunk.positions)
                if chunk.sequence in cuts:
                    stream._socket.transport.abort()
            assert stream.about["session"] == session
        return np.concatenate(found), stream.resumed, session.split(".")[0]

    async def all_four(cuts: tuple[int, ...]) -> list[tuple[np.ndarray, int, str]]:
        return await asyncio.gather(*(run(seed, cuts) for seed in range(4)))

    whole, cut = asyncio.run(all_four(())), asyncio.run(all_four((2, 14, 20)))
    assert sorted(shard for _, _, shard in cut) == ["0", "0", "1", "1"]
    for (wanted, _, _), (found, resumed, _) in zip(whole, cut):
        assert resumed == 3 and len(found) == 120 and np.allclose(wanted, found, atol=2e-3)


@with_ray
def test_requests_and_counts_go_through_the_front(served) -> None:
    address, _ = served
    assert json.loads(get(f"{address}/v1/health"))["shards"] == [0, 0]
    counted = re.findall(r'mld_stream_frames_total\{shard="(\d)"\} (\S+)', get(f"{address}/v1/metrics"))
    assert [shard for shard, _ in counted] == ["0", "1"] and all(float(number) > 0 for _, number in counted)
    assert asyncio.run(Client(address).generate(WALK, seconds=1)).num_frames == 30
    with pytest.raises(Refused, match="no model 'x'"):
        asyncio.run(Client(address).generate(WALK, model="x"))


@with_ray
def test_a_process_that_dies_takes_its_own_sessions_alone(served) -> None:
    address, _ = served

    async def run() -> None:
        client = Client(address)
        async with client.stream(WALK, seed=0) as one, client.stream(WALK, seed=1) as other:
            streams = {stream.about["session"][0]: stream for stream in (one, other)}
            assert sorted(streams) == ["0", "1"]
            for stream in streams.values():
                assert (await stream.__anext__()).sequence == 0
            os.kill(pid_of(1), signal.SIGKILL)
            for number in range(1, 20):
                assert (await streams["0"].__anext__()).sequence == number
            with pytest.raises(Refused):
                for _ in range(40):  # what was on its way comes
                    await streams["1"].__anext__()

    asyncio.run(run())
    until = time.monotonic() + 120
    while True:  # Ray starts it again
        try:
            if len(json.loads(get(f"{address}/v1/health"))["shards"]) == 2:
                break
        except OSError:
            assert time.monotonic() < until, "the shard did not come back"
        time.sleep(1)


@with_ray
def test_it_ends_gently(served) -> None:
    """Clients are told, and the exit is a clean one."""
    address, process = served

    async def run() -> dict:
        async with Client(address).stream(WALK) as stream:
            await stream.__anext__()
            process.send_signal(signal.SIGTERM)
            try:
                async for _ in stream:
                    pass
            except Refused as error:
                return {"said": str(error), "code": error.code}
        return {}

    assert asyncio.run(run())["code"] == "closing"
    assert process.wait(60) == 0


@pytest.mark.parametrize(("given", "said"), [
    ({}, "model=FOLDER"), ({"model": "x", "shard": "2"}, "did you mean 'shards'"),
    ({"model": "x", "grace": "y"}, "a number"),
])  # fmt: skip
def test_arguments_of_an_application_are_checked(given: dict, said: str) -> None:
    from commands.shards import app

    with pytest.raises(RequestError, match=said):
        app(given)


@pytest.mark.skipif(not HERE, reason="needs the extra 'ray'")
def test_an_application_has_a_deployment_for_each_shard(streamer_folder: Path) -> None:
    from commands.shards import app

    built = app({"model": str(streamer_folder), "shards": "3", "grace": "5", "device": "cpu"})
    assert type(built).__name__ == "Application"
    bound = built._bound_deployment.init_args
    assert [one._bound_deployment.name for one in bound] == ["shard-0", "shard-1", "shard-2"]
    assert bound[2]._bound_deployment.init_args[1].settings.grace == 5.0


def test_mistakes_are_one_line(model_folder: Path, call) -> None:  # noqa: F811
    assert "leave out --shards" in call(main, "--model", model_folder, "--shards", 2, "--page").stderr
    assert "--shards -1: a whole number" in call(main, "--model", model_folder, "--shards", -1).stderr
    if not HERE:
        assert "[ray]" in call(main, "--model", model_folder, "--shards", 2).stderr
