"""The line formats that users of the published demos know, and what is said about bad lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tasks
from mld.errors import DataError, MldError, RequestError
from mld.evaluation.task import Setting
from mld.example import Text
from mld.motion.representations.registry import get_representation
from tasks.lines import read_line, read_lines
from tests.walking import walker

REPRESENTATION = get_representation("humanml3d")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("lines")
    np.save(root / "walk.npy", walker(60).numpy())
    np.save(root / "curve.npy", walker(40, turning=0.02).numpy())
    np.save(root / "there.npy", walker(40, start=(3.0, 1.0)).numpy())
    np.save(root / "short.npy", walker(3).numpy())
    np.save(root / "features.npy", REPRESENTATION.encode_joints(walker(60)[None])[0].numpy())
    (root / "broken.npy").write_bytes(b"not an array")
    return root


@pytest.fixture
def setting(folder: Path) -> Setting:
    return Setting(REPRESENTATION, 4, folder, seed=3)


def parse(task: str, line: str, setting: Setting):
    return tasks.find(task).parse(line, setting)


@pytest.mark.parametrize(
    ("line", "text", "frames"),
    [
        ("a person walks", "a person walks", None),
        ("a person walks#120", "a person walks", 120),
        ("a person walks # 6s", "a person walks", 120),
        ("a person walks#6.5 seconds", "a person walks", 130),
        ("a person takes step #1 and #2 now", "a person takes step #1 and #2 now", None),
        ("a person walks#walk.npy", "a person walks", 60),
        ("a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0", "a man walks.", None),
    ],
)
def test_text_to_motion(line: str, text: str, frames: int | None, setting: Setting) -> None:
    request = parse("t2m", line, setting)
    assert request.prompt == (Text(text),)
    assert (request.output, request.num_frames, request.seed) == ("motion", frames, 3)


def test_seconds_of_the_setting_hold_where_the_line_says_nothing(folder: Path) -> None:
    setting = Setting(REPRESENTATION, 4, folder, seconds=4.0)
    assert parse("t2m", "jump", setting).num_frames == 80
    assert parse("t2m", "jump#20", setting).num_frames == 20


@pytest.mark.parametrize("name", ["walk.npy", "features.npy"])
def test_motion_to_text_takes_joints_and_features(name: str, setting: Setting) -> None:
    request = parse("m2t", name, setting)
    (clip,) = request.prompt
    assert request.output == "text"
    assert clip.features.shape[1] == REPRESENTATION.width
    assert len(clip.features) in (59, 60)
    assert torch.isfinite(clip.features).all()


def test_motion_to_text_with_a_question(setting: Setting) -> None:
    question, clip = parse("m2t", "What is this?#walk.npy", setting).prompt
    assert question == Text("What is this? ", verbatim=True)
    assert len(clip.features) == 60


def test_absolute_paths_and_the_working_directory(folder: Path, tmp_path: Path, monkeypatch) -> None:
    elsewhere = Setting(REPRESENTATION, 4, tmp_path)
    assert parse("m2t", str(folder / "walk.npy"), elsewhere).output == "text"
    monkeypatch.chdir(folder)
    assert parse("m2t", "walk.npy", elsewhere).output == "text"


def test_given_frames_keep_their_world_joints(setting: Setting) -> None:
    (clip,) = parse("pred", "there.npy#8", setting).prompt
    assert torch.equal(clip.joints, walker(40, start=(3.0, 1.0)))
    assert len(clip.features) == len(clip.joints)


def test_prediction(setting: Setting) -> None:
    assert parse("pred", "walk.npy", setting).num_frames is None
    assert parse("pred", "walk.npy#8", setting).num_frames == 160
    request = parse("pred", "and then sits down#walk.npy#100f", setting)
    assert request.prompt[0] == Text("and then sits down")
    assert request.num_frames == 100
    with pytest.raises(RequestError, match="whole motion"):
        parse("pred", "walk.npy#2", setting)


def test_inbetween_of_one_file_keeps_its_ends(setting: Setting) -> None:
    request = parse("inbetween", "walk.npy", setting)
    head, tail = request.prompt
    assert (len(head.features), head.start) == (12, 0)
    assert (len(tail.features), tail.start) == (12, 48)
    assert request.num_frames == 60
    assert torch.equal(tail.joints, walker(60)[48:])


def test_inbetween_of_two_files(setting: Setting) -> None:
    head, tail = parse("inbetween", "walk.npy#there.npy#8", setting).prompt
    assert tail.start == 160 - 40
    assert torch.equal(tail.joints, walker(40, start=(3.0, 1.0)))
    with pytest.raises(RequestError, match="no room"):
        parse("inbetween", "walk.npy#there.npy#5", setting)


def test_two_files_that_start_at_the_origin_are_put_one_after_the_other(setting: Setting) -> None:
    head, tail = parse("inbetween", "walk.npy#curve.npy", setting).prompt
    assert tail.joints[0, 0, 2] > head.joints[-1, 0, 2] + 1.0
    assert torch.allclose(tail.joints[:, :, 1], walker(40, turning=0.02)[:, :, 1], atol=1e-5)


@pytest.mark.parametrize("name", ["motion", "Motion_Placeholder"])
def test_placeholder_of_the_whole_motion(name: str, setting: Setting) -> None:
    before, clip, after = parse("m2t", f"Describe <{name}> in words.#walk.npy", setting).prompt
    assert before == Text("Describe ", verbatim=True)
    assert after == Text(" in words.", verbatim=True)
    assert len(clip.features) == 60


def test_placeholders_of_parts(setting: Setting) -> None:
    text, head = parse("pred", "Predict motion: <Motion_Placeholder_s1>#walk.npy", setting).prompt
    assert (text.text, len(head.features)) == ("Predict motion: ", 12)
    request = parse("inbetween", "Complete: <Motion_Placeholder_Masked>#walk.npy", setting)
    assert [segment.start for segment in request.prompt[1:]] == [0, 48]
    assert request.num_frames == 60


def test_placeholders_of_words(setting: Setting) -> None:
    line = "Make <Frame_Placeholder> frames, <Second_Placeholder> s: <Caption_Placeholder>#a man runs#60"
    assert parse("t2m", line, setting).prompt == (Text("Make 60 frames, 3.0 s: a man runs", verbatim=True),)


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("t2m", "#120", "no text"),
        ("t2m", "walk#0", "length"),
        ("t2m", "walk#60#80", "two lengths"),
        ("t2m", "walk#missing.npy", "no file 'missing.npy'"),
        ("t2m", "do <motion>", "no motion"),
        ("t2m", "do <Framelen_Placeholder>", "not a placeholder"),
        ("t2m", "Make <Frame_Placeholder> frames", "length"),
        ("t2m", "Make <Caption_Placeholder>", "no caption"),
        ("m2t", "a person walks", "one motion file"),
        ("m2t", "short.npy", "at least"),
        ("m2t", "broken.npy", "broken.npy"),
        ("pred", "walk.npy#curve.npy", "found 2"),
        ("inbetween", "walk.npy#curve.npy#there.npy", "found 3"),
    ],
)
def test_bad_lines_say_what_is_wrong(task: str, line: str, message: str, setting: Setting) -> None:
    with pytest.raises(MldError, match=message) as raised:
        parse(task, line, setting)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("task", ["inbetween", "m2t", "recon"])
def test_a_length_that_no_task_would_heed_is_refused(task: str, setting: Setting) -> None:
    assert len(parse(task, "walk.npy", setting).prompt) == (2 if task == "inbetween" else 1)
    with pytest.raises(RequestError, match="a length is given, 8s, but the motion says how long it is"):
        parse(task, "walk.npy#8s", setting)


def test_request_files(tmp_path: Path) -> None:
    file = tmp_path / "requests.txt"
    file.write_bytes("\ufeff# a comment\r\na person walks\r\n\r\n  # another\r\nrun#40\r\n".encode())
    assert list(read_lines(file)) == [(2, "a person walks"), (5, "run#40")]
    file.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="UTF-8"):
        list(read_lines(file))
    with pytest.raises(RequestError, match="no request file"):
        list(read_lines(tmp_path / "none.txt"))


def test_a_line_is_taken_apart_without_opening_files(setting: Setting) -> None:
    line = read_line("hop#broken.npy#3.5s", setting)
    assert (line.text, line.length, line.unit) == ("hop", 3.5, "s")
    assert line.motions[0].name == "broken.npy"


@pytest.mark.parametrize("field", ["-5", "1e2", "60fps", "60 fps", "", "inf", "1,5", "+3"])
def test_a_length_that_is_none_is_reported(field: str, setting: Setting) -> None:
    with pytest.raises(RequestError, match="is no length; write #120"):
        parse("t2m", f"a person walks#{field}", setting)


def test_words_after_a_sign_stay_words(setting: Setting) -> None:
    assert parse("t2m", "we do #1 and 2 hops", setting).prompt == (Text("we do #1 and 2 hops"),)


@pytest.mark.parametrize("line", ['"walk.npy"', "'walk.npy'", "a #1 b.npy", '"a #1 b.npy"', r"a\ #1\ b.npy"])
def test_paths_in_quotes_with_blanks_and_signs(line: str, setting: Setting) -> None:
    named = setting.folder / "a #1 b.npy"
    named.write_bytes((setting.folder / "walk.npy").read_bytes())
    read = read_line(f"hop#{line}#40", setting)
    assert (read.text, read.length, len(read.motions)) == ("hop", 40, 1)
    assert read.motions[0].name in ("walk.npy", "a #1 b.npy")


@pytest.mark.parametrize("line", [
    "walk#" + "9" * 400, "walk#" + "x" * 5000 + ".npy", "~nobody-here/walk.npy", "a\0b.npy", "walk\0", "walk\udcff",
    "x" * 5_000_000, "<" + "motion" * 1500, "walk#walk.npy" * 700, "\x1b[31mred",
], ids=lambda line: line[:12].encode("ascii", "backslashreplace").decode())  # fmt: skip
def test_lines_that_mean_harm_are_told_in_one_line(line: str, setting: Setting) -> None:
    for task in tasks.NAMES:
        try:
            parse(task, line, setting)
        except MldError as error:
            assert str(error).isprintable() and len(str(error)) <= 300


def test_one_bad_line_does_not_spoil_the_file(tmp_path: Path, setting: Setting) -> None:
    file = tmp_path / "requests.txt"
    lines = ["a person walks", "turn\u2028left\x0cnow", "caf\udce9", "jump#20"]
    file.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    read = list(read_lines(file))
    assert [number for number, _ in read] == [1, 2, 3, 4]
    assert parse("t2m", read[1][1], setting).prompt == (Text("turn left now"),)
    with pytest.raises(RequestError, match="bytes that are no characters"):
        parse("t2m", read[2][1], setting)


def test_what_demo_wrote_is_read_at_its_rate(tmp_path: Path) -> None:
    """Arrays hold no rate: without what stands beside them, 20 frames per second are taken."""
    setting = Setting(get_representation("motion272"), 2, tmp_path)
    np.save(tmp_path / "a.npy", walker(60).numpy())
    index = tmp_path / "index.json"
    for said, frames in (
        (None, 89), ('{"results": [{"line": 1, "error": "no"}, {"files": ["a.txt", "a.npy"], "fps": 30.0}]}', 60),
        ('{"results": [{"files": ["b.npy"], "fps": 30.0}]}', 89),
        ('{"results": [{"files": ["a.npy"], "fps": -1}]}', 89),
        ('{"results": [{"files": ["a.npy"]}]}', 89), ("[1]", 89), ("{", 89), ('{"results": 5}', 89),
    ):  # fmt: skip
        if said is not None:
            index.write_text(said, encoding="utf-8")
        (clip,) = tasks.find("pred").parse("a.npy", setting).prompt
        assert abs(len(clip.joints) - frames) <= 1, (said, len(clip.joints))
