"""`python -m prepare.view`: files and folders, captions, options and mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from commands.common import run
from mld.motion.motion import Motion
from prepare.view import main
from tests.walking import walker


@pytest.fixture
def motions(tmp_path: Path) -> Path:
    folder = tmp_path / "motions"
    for name in ("first", "second"):
        Motion(walker(24), 20.0).save(folder / f"{name}.npy")
    (folder / "first.txt").write_text("a person walks\n", encoding="utf-8")
    (folder / "notes.md").write_text("not a motion")
    return folder


def view(*arguments: object) -> int:
    return run(main, [str(argument) for argument in arguments])


def description(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="description">(.*?)</script>', text, re.S)[1])


def test_a_folder_with_captions_beside(motions: Path, tmp_path: Path, capsys) -> None:
    assert view(motions, "-o", tmp_path / "out.html", "--together", "--theme", "dark", "--downloads", "npy") == 0
    found = description(tmp_path / "out.html")
    assert [motion["caption"] for motion in found["motions"]] == ["a person walks", "second"]
    assert (found["title"], found["together"], found["theme"]) == ("2 motions", True, "dark")
    assert [len(motion["downloads"]) for motion in found["motions"]] == [1, 1]
    assert "2 motions" in capsys.readouterr().out


def test_captions_title_and_frame_rate(motions: Path, tmp_path: Path) -> None:
    files = [motions / "first.npy", motions / "second.npy"]
    options = ("--caption", "one", "--caption", "two", "--title", "Both", "--fps", 30, "--downloads", "")
    assert view(*files, "-o", tmp_path / "out.html", *options) == 0
    found = description(tmp_path / "out.html")
    assert [(motion["caption"], motion["fps"]) for motion in found["motions"]] == [("one", 30), ("two", 30)]
    assert found["title"] == "Both"
    assert not any(motion["downloads"] for motion in found["motions"])


def test_bad_files_are_left_out_and_named(motions: Path, tmp_path: Path, capsys) -> None:
    (motions / "bad.npy").write_bytes(b"not an array")
    assert view(motions, "-o", tmp_path / "out.html") == 1
    assert "bad.npy" in capsys.readouterr().err
    assert len(description(tmp_path / "out.html")["motions"]) == 2


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        (["missing.npy"], [], "no motion to view"),
        (["."], [], "no motion file in this folder"),
        (["motions/first.npy"], ["--caption", "a", "--caption", "b"], "2 captions are given for 1 motions"),
        (["motions/first.npy"], ["--downloads", "fbx"], "fbx"),
    ],
)
def test_mistakes(files, options, words, motions: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert view(*files, "-o", "out.html", *options) == 2
    assert words in capsys.readouterr().err
    assert not Path("out.html").exists()
