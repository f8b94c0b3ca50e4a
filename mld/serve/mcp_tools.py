"""Motion as tools of MCP (Model Context Protocol), for assistants that call programs of this machine: over standard
input and output, started by `mld mcp`. Files are written into one folder, and read from there alone."""

from __future__ import annotations

import base64
import re
import threading
from pathlib import Path
from typing import Any

from mld.errors import MldError, RequestError, missing_extra, nearest, shown
from mld.files import atomically, place_for
from mld.serve.api.bodies import Describe, Generate
from mld.serve.api.service import FILES, TAKEN, Service
from mld.version import __version__

ABOUT = (
    "Human motion from words, and words for human motion. generate_motion writes an animation file (glb, bvh, npz ...) "
    "and says where; describe_motion tells what such a file shows; list_models tells which models there are."
)


def create(service: Service, folder: Path) -> Any:
    """An MCP server whose files are in a folder; `run()` serves. `MldError` where the extra is missing."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "mcp") from error
    server = MCPServer("mld", instructions=ABOUT, version=__version__, log_level="WARNING")
    turn = threading.Lock()  # tools are called in threads of their own: one motion is made at a time

    def said(function: Any, *values: Any) -> Any:
        try:
            with turn:
                return function(*values)
        except MldError as error:
            raise ToolError(str(error)) from error

    @server.tool()
    def generate_motion(text: str, seconds: float | None = None, seed: int = 0, format: str = "glb",
                        names: str = "own", model: str = "") -> dict[str, Any]:  # fmt: skip
        """Make a human motion from a sentence, such as "a person walks forward and sits down", and write it to a file.

        seconds: length, left out the model decides. seed: another one gives another motion. format: glb, gltf, bvh,
        npz, npy or csv. names: of the joints, own, mixamo or unreal. model: one of list_models, empty for the best."""
        asked = Generate(text=text, seconds=seconds, seed=seed, format=format, names=names, model=model)
        return said(_generate, service, folder, asked)

    @server.tool()
    def describe_motion(file: str) -> str:
        """Say in words what a motion shows. file: the name of a file in the folder that generate_motion writes to."""
        return said(_describe, service, folder, file)

    @server.tool()
    def list_models() -> list[dict[str, Any]]:
        """The models, and which tasks each can do."""
        return [{name: one[name] for name in ("name", "family", "tasks")} for one in service.list()]

    return server


def _generate(service: Service, folder: Path, asked: Generate) -> dict[str, Any]:
    if asked.format not in FILES:
        raise RequestError(f"format {shown(asked.format)} is not known; {nearest(asked.format, FILES)}")
    made = service.generate(asked, lambda *_: None)
    words = re.sub(r"[^a-z0-9]+", "_", asked.text.lower()).strip("_")[:40] or "motion"
    name = f"{words}{'' if asked.seconds is None else f'_{asked.seconds:g}s'}_{asked.seed}.{asked.format}"
    with atomically(path := place_for(folder / name, made.content)) as part:
        part.write_bytes(made.content)
    return {"file": path.name, "path": str(path.resolve()), "model": made.about["X-Mld-Model"]}


def _describe(service: Service, folder: Path, file: str) -> str:
    names = sorted(one.name for one in folder.glob("*") if one.suffix[1:] in TAKEN and one.is_file())
    if file not in names:
        raise RequestError(f"there is no file {shown(file)} in {folder}; {nearest(file, names)}")
    motion = {"format": Path(file).suffix[1:], "content": base64.b64encode((folder / file).read_bytes()).decode()}
    return service.describe(Describe(motion), lambda *_: None)["text"]
