"""Tools of MCP: the official client over standard input and output, as an assistant starts them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra 'mcp' is not installed")

import tasks
from mld.errors import MldError
from mld.motion.motion import Motion
from mld.serve import mcp_tools
from mld.serve.api.service import Service
from mld.serve.models import Models
from tests.commands.conftest import ROOT

TOOLS = {"generate_motion", "describe_motion", "list_models"}


def asked(folder: Path, out: Path, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What `mld mcp` answers to calls of tools."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def run() -> list[Any]:
        arguments = ["-m", "commands.mcp", "--model", str(folder), "--out", str(out)]
        program = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)
        async with Client(stdio_client(program)) as client:
            listed = await client.list_tools()
            return [listed.tools, *[await client.call_tool(name, values) for name, values in calls]]

    return asyncio.run(asyncio.wait_for(run(), 120))


def said(result: Any) -> str:
    return result.content[0].text


def test_an_assistant_makes_and_describes_motions(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "motions"
    tools, listed, made, told, *wrong = asked(
        model_folder, out, ("list_models", {}),
        ("generate_motion", {"text": "a person walks", "seconds": 2, "seed": 4, "format": "bvh", "names": "mixamo"}),
        ("describe_motion", {"file": "a_person_walks_2s_4.bvh"}),
        ("describe_motion", {"file": "../../../etc/passwd"}), ("describe_motion", {"file": "a_person_walk_2s_4.bvh"}),
        ("generate_motion", {"text": ""}), ("generate_motion", {"text": "a person walks", "format": "exe"}),
        ("generate_motion", {"text": "a person walks", "seconds": -1}), ("generate_motion", {}),
    )  # fmt: skip
    assert {tool.name for tool in tools} == TOOLS and all(tool.description for tool in tools)
    assert "tiny" in said(listed) and "t2m" in said(listed)
    answer = json.loads(said(made))
    assert answer["file"] == "a_person_walks_2s_4.bvh" and answer["model"] == "tiny"
    motion = Motion.load(answer["path"])
    assert motion.num_frames == 40 and "mixamorig" in Path(answer["path"]).read_text(encoding="utf-8")
    assert not told.is_error
    assert all(result.is_error and len(said(result)) < 600 for result in wrong)
    assert "no file '../../../etc/passwd'" in said(wrong[0]) and "did you mean" in said(wrong[1])
    assert sorted(path.name for path in out.iterdir()) == [answer["file"]]


def test_the_same_answers_as_the_library(model_folder: Path, tmp_path: Path) -> None:
    """The tools are those of a server in this process, too; what is made once stays the same."""
    server = mcp_tools.create(Service(Models([str(model_folder)]), tasks.forms()), tmp_path)
    for _ in range(2):
        asyncio.run(server.call_tool("generate_motion", {"text": "a person walks", "seconds": 1, "format": "npy"}))
    (file,) = tmp_path.iterdir()
    from mld.engine.pipeline import Pipeline

    want = Pipeline.load(model_folder).generate("a person walks", seconds=1).joints
    assert float((Motion.load(file).joints - want).abs().max()) < 1e-4


def test_what_was_made_before_stays(model_folder: Path, tmp_path: Path) -> None:
    """Sentences that give the same name, as those in other scripts do; and calls at the same time."""
    server = mcp_tools.create(Service(Models([str(model_folder)]), tasks.forms()), tmp_path / "motions")
    asks = [{"text": text, "seconds": 1, "format": "npy"} for text in ("人が歩く", "人が座る", "人が歩く")]

    async def run() -> list[Any]:
        return await asyncio.gather(*(server.call_tool("generate_motion", ask) for ask in asks))

    asyncio.run(run())
    assert sorted(path.name for path in (tmp_path / "motions").iterdir()) == ["motion_1s_0-2.npy", "motion_1s_0.npy"]
    (tmp_path / "motions" / "folder.bvh").mkdir()
    with pytest.raises(Exception, match="no file 'folder.bvh'"):
        asyncio.run(server.call_tool("describe_motion", {"file": "folder.bvh"}))


def test_the_extra_is_named_where_it_is_missing(model_folder: Path, tmp_path: Path, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MldError, match="mcp"):
        mcp_tools.create(Service(Models([str(model_folder)]), {}), tmp_path)


def test_the_wrapper_is_thin() -> None:
    assert len((ROOT / "mld/serve/mcp_tools.py").read_text(encoding="utf-8").splitlines()) <= 80
