"""The wheel, installed apart from the clone: it holds all it needs, works from any folder, and a user's own `tasks.py`
or `train.py` beside it does no harm.

The environment is a new one that sees the packages of the running one, but not the clone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mld import packaged
from mld.config import read_tree
from mld.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mld", "tasks", "commands", "prepare")
FOLDERS = ("configs", "demos")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
NAMES = ("tasks", "commands", "prepare", "train", "test", "demo", "app", "mld_user")
# Says after the command which files of the house were imported, also where the command ends the process.
WITNESS = """\
import atexit, sys

def tell():
    names = ("mld", "tasks", "commands", "prepare")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in names and module.__file__:
            print("WITNESS", module.__file__, file=sys.stderr)

atexit.register(tell)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that no earlier build leaves files in it and none stay in the clone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*PACKAGES, *FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source)
    return next(out.glob("mld_toolkit-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory) -> Path:
    """A virtual environment with the wheel; the packages of this one are on its path."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    packages = next((folder / "lib").glob("python*/site-packages"))
    outside = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "outside.pth").write_text("\n".join(outside) + "\n")
    (packages / "sitecustomize.py").write_text(WITNESS)
    _run("git", "init", "--quiet", folder)  # a user's own repository, whose commits are none of ours
    user = ("-c", "user.name=user", "-c", "user.email=user@home")
    _run("git", "-C", folder, *user, "commit", "--quiet", "--allow-empty", "-m", "mine")
    return folder


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The folder of a user whose own files have the names of ours."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the user\\'s own {name}.py was imported')\n")
    return tmp_path


@pytest.fixture
def mld(environment: Path, user: Path) -> Callable[..., str]:
    """`mld(*arguments)`: the installed command in the user's folder, its output; with `module`, `python -m mld`."""

    def call(*arguments: object, module: bool = False) -> str:
        start = [environment / "bin/python", "-m", "mld"] if module else [environment / "bin/mld"]
        done = _run(*start, *arguments, cwd=user, PYTHONPATH=str(user))
        imported = [line.removeprefix("WITNESS ") for line in done.stderr.splitlines() if line.startswith("WITNESS ")]
        assert imported, done.stderr
        foreign = [file for file in imported if not file.startswith(str(environment))]
        assert not foreign, f"imported from elsewhere: {foreign}"
        return done.stdout

    return call


def _run(*command: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**known, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


def test_everything_is_in_it(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for name in (*PACKAGES, *FOLDERS):
        for file in (ROOT / name).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                place = file.relative_to(ROOT).as_posix()
                assert (f"mld/{place}" if name in FOLDERS else place) in packed, f"{place} is not in the wheel"
    top = {name.split("/")[0] for name in packed}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    assert "mld/py.typed" in packed


def test_a_clone_installed_for_editing_is_found_from_the_folder_above(tmp_path: Path) -> None:
    """The clone is called `mld` as its package is: Python must not take the folder for a package without files."""
    clone, out = tmp_path / "mld", tmp_path / "out"
    clone.mkdir()
    out.mkdir()
    for name in (*PACKAGES, *FOLDERS):
        (clone / name).symlink_to(ROOT / name)
    for name in FILES:
        shutil.copy(ROOT / name, clone)
    build = f"from setuptools.build_meta import build_editable; build_editable({str(out)!r})"
    _run(sys.executable, "-c", build, cwd=clone)
    with zipfile.ZipFile(next(out.glob("mld_toolkit-*.whl"))) as wheel:
        paths = [name for name in wheel.namelist() if name.endswith(".pth")]
        (tmp_path / "site").mkdir()
        wheel.extractall(tmp_path / "site", paths)
    ask = f"import site; site.addsitedir({str(tmp_path / 'site')!r}); import mld; print(mld.__file__)"
    assert _run(sys.executable, "-S", "-c", ask, cwd=tmp_path).stdout.strip() == str(clone / "mld/__init__.py")


def test_text_becomes_motion(mld, user: Path) -> None:
    said = mld("demo", "--text", "a person walks", "--seconds", 2, "--format", "npy", "--out", "out")
    assert "1 done, 0 failed" in said
    joints = np.load(next((user / "out").glob("*.npy")))
    assert joints.shape[1:] == (22, 3) and np.isfinite(joints).all()


def test_requests_travel(mld, user: Path) -> None:
    """Without a file the packaged requests are answered; they name packaged motions."""
    assert "0 failed" in mld("demo", "--task", "recon", "--format", "npy")
    assert list((user / "out/recon").glob("*.npy"))


def test_configs_travel_by_name(mld, user: Path) -> None:
    said = mld("train", "--cfg", "quickstart/pretrain", "--dry-run", module=True)
    assert "# runs/quickstart/pretrain" in said


def test_a_name_is_a_file_or_else_a_packaged_config(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("quickstart/all", "quickstart/all.yaml", "configs/quickstart/all.yaml")
    assert {packaged.find_config(name) for name in names} == {ROOT / "configs/quickstart/all.yaml"}
    assert packaged.find_config("../configs/quickstart/all.yaml") == Path("../configs/quickstart/all.yaml")
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart/all.yaml").write_text("name: mine\n")
    assert packaged.find_config("quickstart/all.yaml") == Path("quickstart/all.yaml")
    with pytest.raises(ConfigError, match="did you mean 'motiongpt/all'"):
        read_tree(packaged.find_config("motiongtp/all"))


def test_a_model_is_trained_in_the_folder_of_the_user(mld, user: Path) -> None:
    small = ("debug=true", "training.max_steps=2", "data.procedural_size=16", "data.num_workers=1")
    said = mld("train", "--cfg", "quickstart/tokenizer", *small)
    assert "runs/debug/quickstart/tokenizer/model" in said
    model = user / "runs/debug/quickstart/tokenizer/model"
    assert (model / "model.safetensors").is_file()
    assert json.loads((model / "provenance.json").read_text())["git_sha"] == ""


def test_two_processes_measure(mld) -> None:
    """Spawned processes find our packages as well."""
    assert "recon" in mld("test", "--task", "recon", "--quick", "--devices", 2, "--evaluator", "none",
                          "data.procedural_size=20")  # fmt: skip


@pytest.mark.parametrize("arguments", [
    ("--version",), ("app", "--help"), ("test", "--help"), ("prepare", "convert", "--help"), ("prepare", "--help"),
])  # fmt: skip
def test_the_other_commands_are_there(mld, arguments: tuple[str, ...]) -> None:
    assert mld(*arguments)


def test_prepare_writes_where_it_is_told(mld, user: Path) -> None:
    mld("prepare", "demo_motions", "--out", "motions")
    assert (user / "motions/walk.npy").is_file()
