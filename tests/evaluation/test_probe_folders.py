"""Folders of results as others fill them: files of all kinds have a verdict or a reason, and none spoils the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands.common import run
from commands.test import main
from mld.evaluation.results_file import read_results
from tests.walking import walker

WALK = walker(60).numpy()
BROKEN = WALK.copy()
BROKEN[7, 3] = np.inf
READ = {  # what can be read, and seconds of it
    "long": (WALK, 3.0), "one_frame": (WALK[:1], 0.05), "two_frames": (WALK[:2], 0.1), "ten_frames": (WALK[:10], 0.5),
    "batch_of_one": (WALK[None], 3.0), "halves": (WALK.astype(np.float16), 3.0), "centimetres": (100 * WALK, 3.0),
    "big_endian": (WALK.astype(">f4"), 3.0), "columns_first": (np.asfortranarray(WALK), 3.0),
}  # fmt: skip
UNREAD = {
    "infinite": BROKEN, "hands_less": WALK[:, :20], "flat": WALK[..., :2], "empty": WALK[:0], "number": np.float32(3),
    "complex": WALK.astype(complex), "objects": np.array([{"a": 1}], dtype=object), "words": np.array(["walk"]),
    "huge": 1e30 * WALK,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "theirs"
    (place / "walk").mkdir(parents=True)
    for name, content in {**{name: joints for name, (joints, _) in READ.items()}, **UNREAD}.items():
        np.save(place / "walk" / f"{name}.npy", content, allow_pickle=True)
    (place / "walk/text.npy").write_text("no array")
    (place / "walk/cut.npy").write_bytes((place / "walk/long.npy").read_bytes()[:300])
    (place / "walk/folder.npy").mkdir()
    (place / "walk/notes.txt").write_text("ours")
    (place / "wlak.npy").write_bytes((place / "walk/long.npy").read_bytes())  # of no prompt
    return place


def asked(folder: Path, tmp_path: Path, *words: object) -> tuple[int, dict]:
    suite = tmp_path / "mine.yaml"
    rows = [{"id": "walk", "prompt": 'walk <b>"on"</b> & {{TITLE}} | \u2028', "expect": ["walks"]},
            {"id": "nobody", "prompt": "sit", "expect": ["sits"]}]  # fmt: skip
    suite.write_text(json.dumps({"mine": rows}))
    options = ["--task", "probes", "--suite", suite, "--results", folder, "--out", tmp_path / "out", *words]
    return run(main, list(map(str, options))), read_results(tmp_path / "out/results.json")


def test_every_file_has_a_verdict_or_a_reason(folder: Path, tmp_path: Path, capsys) -> None:
    code, found = asked(folder, tmp_path, "--samples", 40)
    assert code == 1 and "prompt nobody: no file of this prompt" in capsys.readouterr().err
    samples = {Path(sample["file"]).stem: sample for sample in found["prompts"][0]["samples"]}
    assert set(samples) == {*READ, *UNREAD, "text", "cut"}
    for name, (_, seconds) in READ.items():
        assert samples[name]["seconds"] == pytest.approx(seconds), name
        assert samples[name]["passed"] == (seconds > 0.5), samples[name]
    for name in (*UNREAD, "text", "cut"):
        assert samples[name]["seconds"] is None and len(samples[name]["reasons"]) == 1, name
        assert len(samples[name]["reasons"][0]) <= 300 and f"{name}.npy" in samples[name]["reasons"][0]
    page = (tmp_path / "out/results.html").read_text()
    assert "<b>" not in page and "\\u003cb>" in page and "{{TITLE}}" in page
    assert "walk &lt;b>\"on\"&lt;/b> &amp; {{TITLE}} \\|" in (tmp_path / "out/results.md").read_text()


def test_a_slow_camera_makes_long_motions(folder: Path, tmp_path: Path) -> None:
    code, found = asked(folder, tmp_path, "--samples", 40, "--fps", 5, "--partial")
    seconds = {Path(sample["file"]).stem: sample["seconds"] for sample in found["prompts"][0]["samples"]}
    assert code == 0 and seconds["long"] == pytest.approx(12, abs=0.3) and seconds["one_frame"] == pytest.approx(0.05)
    assert found["tasks"]["probes"]["mine"]["n"] == len(READ)


def test_other_expectations_judge_the_same_motions_and_other_words_do_not(folder: Path, tmp_path: Path, capsys) -> None:
    """A folder is gone on with where a list only expects something else, under another hash; not with other words."""
    before = asked(folder, tmp_path, "--partial")[1]
    suite, rows = tmp_path / "other.yaml", [{"id": "walk", "prompt": "someone walks", "expect": ["sits"]}]
    words = ["--task", "probes", "--suite", str(suite), "--results", str(folder), "--out", str(tmp_path / "two")]
    found = []
    for expect in ("walks", "sits"):
        suite.write_text(json.dumps({"mine": [{**rows[0], "expect": [expect]}]}))
        assert run(main, [*words, "--partial"]) == 0
        found.append(read_results(tmp_path / "two/results.json"))
    assert found[0]["data"]["captions_hash"] != found[1]["data"]["captions_hash"] != before["data"]["captions_hash"]
    assert found[0]["prompts"][0]["passed"] > 0 == found[1]["prompts"][0]["passed"]
    suite.write_text(json.dumps({"mine": [{**rows[0], "prompt": "someone sits"}]}))
    assert run(main, words) == 2 and "holds another evaluation" in capsys.readouterr().err
