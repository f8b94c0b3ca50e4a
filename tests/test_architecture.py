"""The house keeps its shape: floors, no loops, families that do not know each other, names that stand in one place."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from mld.motion.representations.registry import get_representation, representation_names

ROOT = Path(__file__).parents[1]
ROOMS = ("mld", "tasks", "commands", "prepare")
FLOORS = [
    {"mld.version", "mld.errors", "mld.files", "mld.padding", "mld.example", "mld.packaged",
     "mld.yaml_text", "mld.interpolation", "mld.durations"},
    {"mld.reading", "mld.ray_data"},
    {"mld.motion", "mld.config", "mld.weight_files", "mld.jobs"},
    {"mld.models", "mld.data", "mld.metrics", "mld.view"},
    {"mld.checkpoint"},
    {"mld.hub"},
    {"mld.engine"},
    {"mld.training", "mld.serve"},
    {"mld.evaluation"},
    {"tasks"},
    {"commands"},
    {"prepare"},
]
# Faces: what a user calls on a low noun opens a room above it, inside a function.
FACES = {"mld": None, "mld.__main__": None, "mld.motion.motion": {"mld.motion.importing", "mld.motion.formats"}}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@lru_cache
def _sources() -> dict[str, Path]:
    return {_module(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}


@lru_cache
def _imports(module: str) -> frozenset[str]:
    """The modules of the house that a file imports, anywhere in it, faces left out."""
    known, found = _sources(), set()
    for node in ast.walk(ast.parse(known[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = {name for name in whole if name in known}
            found |= inside | ({node.module} if len(inside) < len(whole) else set())
    house = {name for name in found if name in known and name != module}
    allowed = FACES.get(module, set())
    return frozenset() if allowed is None else frozenset(house - allowed)


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("mld.") else module.split(".")[0]


def _floor(module: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if _room(module) in rooms)


def _loops() -> list[list[str]]:
    """Files that reach each other by imports (strongly connected components, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    loops: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in _imports(module):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            loop = stack[at:]
            del stack[at:]
            if len(loop) > 1:
                loops.append(sorted(loop))

    for module in _sources():
        if module not in index:
            visit(module)
    return loops


@pytest.mark.parametrize("module", [name for name in _sources() if name != "mld"])
def test_imports_go_down(module: str) -> None:
    for other in _imports(module):
        if _room(other) != _room(module) and other != "mld":
            assert _floor(other) < _floor(module), f"{module} imports {other}, which is not on a floor below"


def test_no_file_imports_another_in_a_loop() -> None:
    assert _loops() == []


def _families() -> list[str]:
    return sorted(path.name for path in (ROOT / "mld/models/families").iterdir() if (path / "model.py").is_file())


@pytest.mark.parametrize("family", _families())
def test_families_do_not_know_each_other(family: str) -> None:
    own = f"mld.models.families.{family}"
    for module in _sources():
        if module.startswith(own):
            foreign = [name for name in _imports(module) if name.startswith("mld.models.families.")]
            assert all(name.startswith(own) for name in foreign), f"{module} imports {foreign}"


@pytest.mark.parametrize("family", _families())
def test_a_family_is_named_in_its_folder_the_registry_and_prepare(family: str) -> None:
    """Elsewhere an `if` on a family would begin with its name. Prose may name it."""
    allowed = (f"mld.models.families.{family}", "mld.models.registry", "prepare")
    quoted = re.compile(rf"""["']{family}["']""")
    for module, path in _sources().items():
        if not module.startswith(allowed):
            assert not quoted.search(path.read_text(encoding="utf-8")), f"{module} names the family '{family}'"


def test_tasks_are_named_in_their_room() -> None:
    """In metrics and validation losses "t2m" and "m2t" are directions of retrieval, words of the field."""
    import tasks

    quoted = re.compile(rf"""["']({'|'.join(tasks.NAMES)})["']""")
    for module, path in _sources().items():
        if not module.startswith(("tasks", "mld.metrics", "mld.training")):
            found = quoted.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{module} names the task {found[0]}"


def test_blocks_of_features_are_named_in_representations_alone() -> None:
    """Elsewhere columns are asked for by their role."""
    blocks = {name for known in representation_names() for name in get_representation(known).blocks}
    assert len(blocks) > 10
    quoted = re.compile("|".join(rf"""["']{name}["']""" for name in sorted(blocks)))
    for module, path in _sources().items():
        if not module.startswith("mld.motion.representations"):
            found = quoted.search(path.read_text(encoding="utf-8"))
            assert not found, f"{module} names the block {found[0]}"
