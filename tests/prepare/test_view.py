"""`python -m prepare.view`: files and folders, captions, options and mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.common import run
from mld.motion.motion import Motion
from mld.view.sheet import CAPTION, GAP, PLACE, STILLS
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


def test_a_picture_has_a_row_of_stills_per_motion(motions: Path, tmp_path: Path, capsys) -> None:
    assert view(motions, "-o", tmp_path / "new" / "sheet.png") == 0
    assert "2 motions" in capsys.readouterr().out
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        picture = np.asarray(sheet.convert("RGB")).astype(int)
    height, width = PLACE[1] + CAPTION, PLACE[0]
    assert picture.shape == (2 * height + GAP, STILLS * width, 3)  # two motions stand below each other
    stills = [picture[CAPTION:height, place * width : (place + 1) * width] for place in range(STILLS)]
    assert all(np.abs(one - other).max() > 60 for one, other in zip(stills, stills[1:]))  # the walker gets on
    captions = [picture[top : top + CAPTION] for top in (0, height + GAP)]
    assert all((line < 128).any() for line in captions) and (captions[0] != captions[1]).any()


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
