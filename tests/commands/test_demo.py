"""The command `demo`, run as users run it, on a tiny model."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import tasks
from commands.common import run
from commands.demo import _cleans, _parse, main
from mld.engine.pipeline import Pipeline
from mld.errors import DataError
from mld.motion.motion import Motion
from tests.commands.conftest import ROOT, command
from tests.walking import walker


def index_of(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_text(encoding="utf-8"))


def test_text_to_motion_writes_everything_and_reports_bad_lines(model_folder: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.txt"
    requests.write_bytes("\ufeff# comment\r\na person walks#40\r\n\r\nwalk#0\r\na person runs#2s\r\n".encode())
    done = command("demo.py", "--model", model_folder, "--example", requests, "--out", tmp_path / "out", "--seed", 5,
                   "--format", "npy,png,mp4,html")
    assert done.returncode == 1, done.stderr
    assert f"{requests}:4: " in done.stderr
    assert "Traceback" not in done.stderr
    out, index = tmp_path / "out", index_of(tmp_path / "out")
    first, bad, second = index["results"]
    assert (first["line"], bad["line"], second["line"]) == (2, 4, 5)
    assert first["files"] == [f"000_a-person-walks.{kind}" for kind in ("txt", "npy", "png", "mp4", "html")]
    assert all((out / name).stat().st_size > 0 for name in first["files"] + second["files"])
    assert np.load(out / "000_a-person-walks.npy").shape == (40, 22, 3)
    assert (out / "000_a-person-walks.txt").read_text() == "a person walks\n"
    assert (first["seed"], first["frames"], index["task"]) == (5, 40, "t2m")
    assert "length" in bad["error"]
    assert (out / "overview.png").is_file()
    page = (out / "overview.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("a person walks", "a person runs"))
    assert str(out) in done.stdout


def test_a_full_disk_is_one_line_and_the_index_has_what_is_there(
    model_folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """The second motion finds no room for its picture; its other files go, and the same command makes it."""
    requests, out = tmp_path / "requests.txt", tmp_path / "out"
    requests.write_text("a person walks#40\na person runs#40\na person turns#40\n")
    arguments = ["--model", str(model_folder), "--example", str(requests), "--out", str(out), "--format", "npy,png"]
    save = Motion.save

    def without_room(motion: Motion, path: Path, **options) -> None:
        if path.name == "001_a-person-runs.png":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(motion, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Motion, "save", without_room)
        assert run(main, arguments) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(told) == 1 and told[0].endswith("001_a-person-runs.png: No space left on device")
    there = {path.name for path in out.iterdir()}
    assert [entry["line"] for entry in index_of(out)["results"]] == [1]
    assert there == {"index.json", *index_of(out)["results"][0]["files"]}
    assert run(main, arguments) == 0 and len(index_of(out)["results"]) == 3


def test_what_cannot_be_served_does_not_spoil_the_rest(call, model_folder: Path, tmp_path: Path) -> None:
    """Bytes that are no text, a length without end, a seed of a sample that is out of range."""
    lines = ("walk\udcff", f"walk#{'9' * 400}s", "a person walks#20")
    options = [part for line in lines for part in ("--text", line)]
    done = call(main, "--model", model_folder, *options, "--seed", 2**64 - 1, "--num-samples", 2,
                "--format", "npy", "--out", tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    results = index_of(tmp_path)["results"]
    assert [entry["line"] for entry in results if "error" not in entry] == [3]
    errors = [entry["error"] for entry in results if "error" in entry]
    assert len(errors) == 3 and all("\n" not in error for error in errors)
    assert sum("from -2^63 to 2^64 - 1" in error for error in errors) == 1


def test_a_prompt_that_the_model_cannot_read_is_served_with_a_note(call, model_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", model_folder, "--text", "a person walks#20", "--text", "человек идёт#20",
                "--format", "npy", "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    plain, other = index_of(tmp_path)["results"]
    assert not plain["notes"] and other["frames"] == 20
    assert other["notes"] == ["the model never saw 100 % of the letters of the text, 'человек идёт', and cannot follow "
                              "them"]  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "note:" in line] == [f"--text:2: note: {other['notes'][0]}"]


@pytest.mark.parametrize("length", ["8", "2.55", "1.3s", "31f"])
def test_an_in_between_is_as_long_from_the_command_line_as_from_python(
    call, model_folder: Path, tmp_path: Path, length: str
) -> None:
    for name, frames in (("a", 9), ("b", 7)):
        Motion(walker(frames), 20.0).save(tmp_path / f"{name}.npy")
    line = f"{tmp_path / 'a.npy'}#{tmp_path / 'b.npy'}#{length}"
    call(main, "--model", model_folder, "--task", "inbetween", "--text", line, "--format", "npy", "--no-clean",
         "--out", tmp_path / "o")
    head, tail = (Motion.load(tmp_path / f"{name}.npy") for name in "ab")
    seconds = float(length.rstrip("sf")) / (20 if length.endswith("f") else 1)
    made = Pipeline.load(model_folder).inbetween(head, tail, seconds=seconds)
    written = np.load(tmp_path / "o" / "000_a-b.npy")
    assert len(written) == made.num_frames == round(seconds * 20)
    assert np.allclose(written, made.joints, atol=1e-5)


def test_samples_differ_and_seeds_repeat(call, model_folder: Path, tmp_path: Path) -> None:
    for name, options in {"a": ("--num-samples", 3), "b": ("--seed", 1, "--batch-size", 1)}.items():
        done = call(main, "--model", model_folder, "--text", "a person walks", "--seconds", 2,
                       "--format", "npy", "--out", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
    several = [np.load(path) for path in sorted((tmp_path / "a").glob("*.npy"))]
    assert len(several) == 3
    assert not np.array_equal(several[0], several[1])
    assert np.array_equal(several[1], np.load(next((tmp_path / "b").glob("*.npy"))))
    assert not list((tmp_path / "a").glob("*.png"))


def test_animation_files_are_written_and_open_again(call, model_folder: Path, tmp_path: Path) -> None:
    kinds = ("bvh", "glb", "gltf", "npz", "csv", "json", "gif")
    done = call(main, "--model", model_folder, "--text", "a person walks#20", "--format", ",".join(kinds),
                "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert index_of(tmp_path)["results"][0]["files"] == [f"000_a-person-walks.{kind}" for kind in ("txt", *kinds)]
    for kind in kinds[:-1]:
        assert Motion.load(tmp_path / f"000_a-person-walks.{kind}").joints.shape == (20, 22, 3)


def test_captions_are_printed(call, model_folder: Path, motions: Path, tmp_path: Path) -> None:
    requests = motions / "captions.txt"
    requests.write_text("walk.npy\nfeatures.npy\nbroken.npy\n")
    done = call(main, "--model", model_folder, "--task", "m2t", "--example", requests, "--out", tmp_path,
                   "--format", "png", folder=ROOT)
    assert done.returncode == 1, done.stderr
    assert "captions.txt:3: " in done.stderr
    caption = index_of(tmp_path)["results"][0]["text"]
    assert f"walk: {caption}" in done.stdout
    assert (tmp_path / "000_walk.txt").read_text(encoding="utf-8").strip() == caption.strip()


@pytest.mark.parametrize(("task", "line"), [("pred", "walk.npy#4"), ("inbetween", "walk.npy#curve.npy#7")])
def test_given_frames_stay(call, task: str, line: str, model_folder: Path, motions: Path, tmp_path: Path) -> None:
    (motions / f"{task}.txt").write_text(line)
    done = call(main, "--model", model_folder, "--task", task, "--example", motions / f"{task}.txt",
                   "--out", tmp_path, "--format", "npy")
    assert done.returncode == 0, done.stderr
    made = np.load(next(tmp_path.glob("*.npy")))
    assert len(made) == (80 if task == "pred" else 140)
    assert np.array_equal(made[:60], np.load(motions / "walk.npy"))
    assert np.abs(np.diff(made[50:70], axis=0)).max() < 0.3


REQUESTS = {
    "t2m": "a person walks#44", "m2t": "walk.npy", "pred": "walk.npy#4", "inbetween": "walk.npy", "recon": "walk.npy",
    "t2t": "How long does a jump take?",
}  # fmt: skip
FRAMES = {"t2m": 44, "pred": 80, "inbetween": 60, "recon": 60}


@pytest.mark.parametrize("task", [name for name in tasks.NAMES if name != "stream"])
def test_every_family_does_every_task(
    call, task: str, any_model_folder: Path, motions: Path, tmp_path: Path
) -> None:
    """Bad requests in between are named and left out."""
    motions = Path(shutil.copytree(motions, tmp_path / "motions"))
    np.save(motions / "nan.npy", np.full((40, 22, 3), np.nan, dtype=np.float32))
    np.save(motions / "short.npy", np.load(motions / "walk.npy")[:3])
    bad = ["far " * 400] if task in ("t2m", "t2t") else ["nan.npy", "short.npy"]
    (motions / "lines.txt").write_text("\n".join([*bad, REQUESTS[task], REQUESTS[task]]))
    done = call(main, "--model", any_model_folder, "--task", task, "--example", motions / "lines.txt",
                "--out", tmp_path / "out", "--format", "npy")
    assert done.returncode == 1, done.stderr
    failed = [entry["line"] for entry in index_of(tmp_path / "out")["results"] if "error" in entry]
    assert failed == list(range(1, len(bad) + 1))
    told = done.stderr.splitlines()[2:]  # after "starting" and "opening the model"
    for number, reason in enumerate(["this model reads at most"] if len(bad) == 1 else ["NaN", "3 frames"], 1):
        assert f"lines.txt:{number}: " in told[number - 1] and reason in told[number - 1]
    made = [np.load(path) for path in sorted((tmp_path / "out").glob("*.npy"))]
    assert [len(motion) for motion in made] == [FRAMES[task]] * 2 if task in FRAMES else made == []


def test_relative_paths_start_at_the_request_file(call, model_folder: Path, motions: Path, tmp_path: Path) -> None:
    (motions / "one.txt").write_text("curve.npy")
    done = call(main, "--model", model_folder, "--task", "m2t", "--example", motions / "one.txt",
                   "--out", "here", "--format", "npy", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "index.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "fbx"), "fbx cannot be written"),
        (("--example", "missing.txt"), "no request file"),
        (("--num-samples", "0"), "expected a whole number from 1 to 10,000"),
        (("--num-samples", "1000000000"), "expected a whole number from 1 to 10,000"),
        (("--batch-size", "9" * 5), "expected a whole number from 1 to 10,000"),
        (("--seed", str(2**64)), "from -2^63 to 2^64 - 1"),
        (("--seconds", "-1"), "a motion lasts a millisecond or more"),
        (("--seconds", "inf"), "not for ever"),
        (("--model", "no/such/folder/here"), "no such model folder"),
        (("--device", "cuda:77"), "--device cuda:77 cannot be used"),
        (("--task", "dance"), "invalid choice"),
        (("--cfg", "configs/none.yaml"), "no config file"),
    ],
)
def test_wrong_usage(call, arguments: tuple[str, ...], message: str, model_folder: Path, tmp_path: Path) -> None:
    model = () if {"--model", "--cfg"} & set(arguments) else ("--model", model_folder)
    done = call(main, *model, "--text", "walk", "--out", tmp_path, *arguments) if "--example" not in arguments \
        else call(main, *model, "--out", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("t2m: ")]  # how far it came
    assert len(told) == 1 or "usage:" in done.stderr


def test_a_first_line_comes_before_anything_that_takes_long() -> None:
    done = command("-X", "importtime", "demo.py", "--text", "walk", "--format", "fbx")
    assert done.returncode == 2
    before, after = done.stderr.split("t2m: starting\n")
    imported = [{line.rsplit("|", 1)[-1].strip() for line in part.splitlines()} for part in (before, after)]
    assert {"numpy", "torch"} <= imported[1] and not {"numpy", "torch", "yaml"} & imported[0]


@pytest.mark.parametrize("task", tasks.NAMES)
def test_the_shipped_request_files_can_be_read(task: str) -> None:
    from mld.evaluation.task import Setting
    from mld.motion.representations.registry import get_representation
    from tasks.lines import read_lines

    setting = Setting(get_representation("humanml3d"), 4, ROOT / "demos")
    lines = list(read_lines(ROOT / "demos" / f"{task}.txt"))
    assert len(lines) >= 4
    for _, line in lines:
        tasks.find(task).parse(line, setting)


def test_clean_up_is_reported_and_leaves_given_frames(call, model_folder: Path, motions: Path, tmp_path: Path) -> None:
    for name, options in {"raw": ("--no-clean",), "clean": ()}.items():
        done = call(main, "--model", model_folder, "--task", "pred", "--text", motions / "walk.npy", "--seconds", 4,
                       "--format", "npy", "--out", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
    given = len(np.load(motions / "walk.npy"))
    raw, cleaned = (np.load(next((tmp_path / name).glob("*.npy"))) for name in ("raw", "clean"))
    np.testing.assert_allclose(cleaned[:given], raw[:given], atol=1e-5)
    assert not np.allclose(cleaned[given:], raw[given:], atol=1e-3)
    report = index_of(tmp_path / "clean")["results"][0]["clean_up"]
    assert report["steps"] == ["smooth", "feet"]
    assert report["after"]["jerk"] < report["before"]["jerk"]
    assert report["moved"] > 0 and f"joints moved by {100 * report['moved']:.1f} cm (--no-clean" in done.stderr
    assert "clean_up" not in index_of(tmp_path / "raw")["results"][0]


@pytest.mark.parametrize(("options", "cleaned"), [
    ((), True), (("--clean",), True), (("--no-clean",), False), (("--bones", "clip"), False),
    (("--bones", "clip", "--clean"), True), (("--task", "recon"), False), (("--task", "recon", "--clean"), True),
])  # fmt: skip
def test_what_is_cleaned_up_where_nothing_is_said(options: tuple[str, ...], cleaned: bool) -> None:
    """Motion that shows what a network makes is not."""
    assert _cleans(_parse(options)) is cleaned


def test_a_motion_that_cannot_be_cleaned_up_is_told(model_folder: Path, tmp_path: Path, monkeypatch, call) -> None:
    def refused(*_, **__):
        raise DataError("frame 3 holds NaN")

    monkeypatch.setattr("mld.engine.cleaning.clean", refused)
    done = call(main, "--model", model_folder, "--text", "a person walks#20", "--format", "npy", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (entry,) = index_of(tmp_path)["results"]
    assert entry["notes"] == ["not cleaned up: frame 3 holds NaN"] and "clean_up" not in entry
    assert "note: not cleaned up: frame 3 holds NaN" in done.stderr


def test_few_files_where_nothing_is_said(call, model_folder: Path, motions: Path, tmp_path: Path) -> None:
    """A motion each, an overview of all; no name of a placeholder where people read."""
    line = "and then sits down#walk.npy#4"
    requests = motions / "goes_on.txt"
    requests.write_text(line + "\n")
    done = call(main, "--model", model_folder, "--task", "pred", "--example", requests, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pred: starting\npred: 1 request; opening the model\n")
    kinds = sorted(path.suffix for path in tmp_path.iterdir() if not path.name.startswith(("overview", "index")))
    assert kinds == [".npy", ".txt"]
    assert sorted(path.name for path in tmp_path.glob("overview.*")) == ["overview.html", "overview.png"]
    label = next(tmp_path.glob("*.txt")).read_text()
    assert "<motion>" not in label and "sits down" in label


def test_files_have_the_names_and_the_frame_rate_that_are_wanted(call, model_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", model_folder, "--text", "a person walks#40", "--format", "bvh,npy,html",
                "--names", "mixamo", "--fps", 60, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    text = next(tmp_path.glob("*.bvh")).read_text()
    assert "ROOT Hips" in text or "mixamorig" in text
    assert "Frame Time: 0.01666" in text
    assert index_of(tmp_path)["results"][0]["fps"] == 60
    assert 115 <= len(np.load(next(tmp_path.glob("*.npy")))) <= 120


def test_who_waits_for_videos_at_a_terminal_sees_a_bar(call, model_folder: Path, tmp_path: Path, monkeypatch) -> None:
    arguments = ("--model", model_folder, "--text", "a person walks#40", "--format", "mp4,gif", "--out", tmp_path)
    assert "drawing" not in call(main, *arguments).stderr  # what is kept in a file has no use for it
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    told = call(main, *arguments).stderr
    for suffix in ("mp4", "gif"):
        assert f"drawing 000_a-person-walks.{suffix}:   0%" in told and " 0/40 [" in told


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_holds_one_run(model_folder: Path, tmp_path: Path, call) -> None:
    """The same run again takes its place; one of other requests, options or weights puts it aside, and says so."""
    out, first = tmp_path / "out", ("--text", "a person walks#40", "--text", "a person runs#40")
    options = ("--model", model_folder, "--out", out, "--format", "npy")
    call(main, *options, *first)
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    (out / "mine.txt").write_text("mine")
    assert "before" not in call(main, *options, *first).stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    for number, more in enumerate((("--text", "a person jumps#40"), (*first, "--seed", 1), (*first, "--no-clean")), 1):
        done = call(main, *options, *more)
        assert done.returncode == 0 and "results of an earlier run" in done.stderr
        assert ("another seed" if number == 2 else "another s" if number == 3 else "other requests") in done.stderr
        asides = sorted(tmp_path.glob("out.before-*"))
        assert len(asides) == number and files_in(out) == {"mine.txt", "index.json", *listed(out)}
    assert {name: (asides[0] / name).read_bytes() for name in files_in(asides[0])} == before


def listed(folder: Path) -> set[str]:
    return {name for entry in index_of(folder)["results"] for name in entry.get("files", ())}


def test_other_files_and_a_damaged_index_are_told(model_folder: Path, tmp_path: Path, call) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    arguments = ("--model", model_folder, "--text", "walk#40", "--out", out, "--format", "npy")
    assert "out: holds other files, which stay (1: mine.txt)" in call(main, *arguments).stderr
    (out / "index.json").write_text('{"results": [{"files": ["../mine.txt", 3]}')
    assert "results of an earlier run" in call(main, *arguments).stderr
    (aside,) = tmp_path.glob("out.before-*")
    assert files_in(aside) == {"index.json"} and (out / "mine.txt").read_text() == "mine"
