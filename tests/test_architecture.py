"""The floors of the house: a room imports only from floors below its own, and command help stays light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"mld.errors"},
    {"mld.motion", "mld.config"},
    {"mld.models", "mld.data", "mld.view"},
    {"mld.checkpoint"},
    {"mld.engine", "mld.training", "mld.metrics"},
    {"tasks"},
    {"commands.common"},
    {"prepare", "mld.serve"},
    {"doors"},
]
SIDEWAYS = {("mld.training", "mld.engine"), ("mld.training", "mld.metrics")}  # samples and scores of a validation
SHARED_SHAPES = "mld.example"  # the one data module that networks may know


def _room(module: str) -> str | None:
    parts = module.split(".")
    if parts[:2] == ["doors", "common"]:
        return "commands.common"
    if parts[0] in {"tasks", "doors", "prepare"}:
        return parts[0]
    return ".".join(parts[:2]) if parts[0] == "mld" and len(parts) > 1 else None


def _floor(room: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _sources() -> list[Path]:
    return [path for room in ("mld", "tasks", "doors", "prepare") for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    room = _room(module)
    if room is None:  # mld/__init__.py opens the doors of the whole package, lazily
        return
    for name in _imports(path):
        other = _room(name)
        if other in (None, room) or (room == "mld.models" and name.startswith(SHARED_SHAPES)):
            continue
        if not any(other in rooms for rooms in FLOORS) or (room, other) in SIDEWAYS:
            continue  # a name imported from mld itself (mld.load, mld.Motion), or a sideways step that is allowed
        assert _floor(other) < _floor(room), f"{module} imports {name} from a floor that is not below"
