"""`python -m prepare.gate`: flags of reference motions, with and without a judge, and files that are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commands.common import run
from mld.evaluation.judge import gate_run
from mld.evaluation.judge.references import read_reference
from mld.metrics.mbench import motion_quality
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from prepare.gate import main
from tests.evaluation.chat_server import question_of, said, serving

DEMOS = Path(__file__).parents[2] / "demos/motions"
COLUMNS = get_representation("motion276")
DAMAGED = ("gone", "narrow", "nan", "text", "no_path")


def features(name: str) -> torch.Tensor:
    return COLUMNS.encode(Motion.load(DEMOS / f"{name}.npy"))


def shaking(rows: torch.Tensor) -> torch.Tensor:
    """With steps of joints that shake by 3 cm."""
    rows = rows.clone()
    noise = torch.randn(len(rows), 66, generator=torch.Generator().manual_seed(0))
    rows[:, 192:258] += 0.03 * noise
    return rows


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    """Entries with names of all kinds; references as tensors, dictionaries, arrays, 426 columns, and damaged ones."""
    folder = tmp_path / "data/refs"
    folder.mkdir(parents=True)
    walk, wave, jump = map(features, ("walk", "wave", "jump"))
    torch.save({"motion": walk, "extrinsic": torch.zeros(len(walk), 9)}, folder / "0.pt")
    torch.save(shaking(walk), folder / "1.pt")
    torch.save({"motion": wave.numpy()}, folder / "2.pt")
    np.save(folder / "3.npy", jump.numpy())
    torch.save({"motion": torch.cat([walk, torch.zeros(len(walk), 150)], 1)}, folder / "older.pt")
    torch.save(walk[:2], folder / "short.pt")
    torch.save(walk[:, :200], folder / "narrow.pt")
    torch.save(walk * torch.nan, folder / "nan.pt")
    (folder / "text.pt").write_text("no tensor")

    def entry(name: Any, file: str, prompt: str, **more: Any) -> dict[str, Any]:
        return {"global_id": name, "prompt": prompt, "motion_path": f"data/refs/{file}", **more}

    entries = [
        entry(0, "0.pt", "a person walks", id=7), entry("1", "1.pt", "a person walks", use_ref_motion=True),
        entry(2, "2.pt", "a person waves"), entry("003", "3.npy", "somebody é jumps", motion_duration=2.5),
        {"id": 4, "prompt": "only words"}, entry(5, "older.pt", "a walk"), entry(6, "short.pt", "a walk"),
        entry("gone", "nowhere.pt", "a"), entry("narrow", "narrow.pt", "b"), entry("nan", "nan.pt", "c"),
        entry("text", "text.pt", "d", use_ref_motion=True), {"global_id": "no_path", "motion_path": 5, "prompt": "e"},
    ]  # fmt: skip
    path = tmp_path / "meta.json"
    path.write_text(json.dumps(entries, indent=4), encoding="utf-8")
    return path


def gate(meta: Path, *options: str, code: int = 1) -> tuple[list[Any], dict[str, Any]]:
    """Entries and report after the command."""
    assert run(main, ["--meta", str(meta), *options]) == code
    report = meta.with_name("meta.gate.json")
    return json.loads(meta.read_text(encoding="utf-8")), json.loads(report.read_text()) if report.exists() else {}


def flags(entries: list[Any]) -> dict[Any, Any]:
    return {entry.get("global_id", entry.get("id")): entry.get("use_ref_motion") for entry in entries}


def test_jitter_alone_decides_without_a_judge(meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads(meta.read_text())
    original = meta.read_bytes()
    entries, report = gate(meta)
    told = capsys.readouterr()
    assert flags(entries) == {0: True, "1": False, 2: True, "003": True, 4: None, 5: True, 6: False} | dict.fromkeys(
        DAMAGED, False
    )
    assert [{**entry, "use_ref_motion": 0} for entry in entries] == [{**entry, "use_ref_motion": 0} for entry in before]
    assert meta.with_name("meta.json.bak").read_bytes() == original
    assert "alone, no judge" in report["rule"]
    assert "alone, no judge" in told.out
    lines = told.err.splitlines()
    assert len(lines) == len(DAMAGED)
    for line, name in zip(lines, DAMAGED):
        assert line.startswith(f"failed: {name}: ")
        assert len(line) < 330
    records = {record["global_id"]: record for record in report["records"]}
    assert len(records) == 11
    assert records[0]["motion_metrics"]["Jitter_Degree"] < 0.04 < records["1"]["motion_metrics"]["Jitter_Degree"]
    assert records[6]["motion_metrics"] == {"Jitter_Degree": None}
    assert "too few for a jitter" in records[6]["notes"][0]
    assert "426 columns" in records[5]["notes"][0]
    assert records[0]["vlm_matches"] is None
    assert report["counts"] == {"entries": 12, "records": 11, "use_ref_motion": 4, "failed": 5}


def test_the_jitter_is_that_of_the_benchmark(meta: Path) -> None:
    _, report = gate(meta)
    joints = COLUMNS.decode_joints(features("walk"))
    expected = motion_quality(joints)["Jitter_Degree"]
    assert report["records"][0]["motion_metrics"]["Jitter_Degree"] == pytest.approx(expected, abs=1e-6)


def test_a_frame_rate_brings_references_to_twenty_frames(meta: Path) -> None:
    path = meta.parent / "data/refs/0.pt"
    plain, slow = read_reference(path), read_reference(path, 16.0)
    assert (plain.motion.fps, slow.motion.fps) == (20.0, 20.0)
    assert slow.motion.duration == pytest.approx(plain.motion.duration * 20 / 16, abs=0.1)
    ends = [one.motion.joints[-1, 0] - one.motion.joints[0, 0] for one in (plain, slow)]
    assert torch.allclose(*ends, atol=0.03)  # the way is the same, only slower
    before = flags(gate(meta)[0])
    _, report = gate(meta, "--fps", "16")
    assert report["settings"]["fps"] == 16
    assert report["records"][0]["frames"] == slow.motion.num_frames
    assert flags(json.loads(meta.read_text())) == before


def judge_of(body: dict[str, Any]) -> tuple[int, Any]:
    asked = question_of(body)
    if "a person waves" in asked:
        return said('{"analysis": "a walk", "matches": false}')
    if "é jumps" in asked:
        return said('```json\n{"analysis": "it is true", "matches": "yes"}\n```')
    if "a person walks" in asked:
        return said('{"analysis": "walks", "matches": true}')
    return said("I cannot tell.")


def test_both_have_to_agree_where_there_is_a_judge(meta: Path) -> None:
    with serving(judge_of) as server:
        spec = f"{server.address}#seer"
        entries, report = gate(meta, "--judge", spec, "--threads", "3")
        # Entry 5 has an answer that says nothing, so it is left as it was; too much jitter is not asked about.
        expected = {0: True, "1": False, 2: False, "003": True, 4: None, 5: None, 6: False}
        assert flags(entries) == expected | dict.fromkeys(DAMAGED, False)
        assert len(server.bodies) == 4
        records = {record["global_id"]: record for record in report["records"]}
        assert records[2]["vlm_matches"] is False
        assert records[2]["vlm_analysis"] == "a walk"
        assert "does not say whether it matches" in records[5]["error"]
        assert records[5]["vlm_raw"] == "I cannot tell."
        gate(meta, "--judge", spec)
        assert len(server.bodies) == 4  # answers are recorded
    again, _ = gate(meta, "--judge", f"replay:{meta.with_name('meta.gate.answers')}")
    assert again == entries


def test_a_judge_that_is_not_there_loses_nothing(meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate(meta)
    entries, report = gate(meta, "--judge", "http://127.0.0.1:9/v1#seer", code=1)
    assert flags(entries)[0] is True  # as it was
    assert flags(entries)["1"] is False
    assert "cannot be reached" in capsys.readouterr().err
    assert report["counts"]["failed"] == 4 + len(DAMAGED)


def test_a_limit_leaves_the_other_entries_in_the_file(meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries, report = gate(meta, "--limit", "2", code=0)
    assert len(entries) == 12
    assert list(flags(entries).values())[:4] == [True, False, None, None]
    assert flags(entries)["text"] is True
    assert len(report["records"]) == 2
    entries, report = gate(meta)
    assert "2 known from before" in capsys.readouterr().out
    assert len(report["records"]) == 11
    gate(meta, "--limit", "1", code=0)
    kept = json.loads(meta.with_name("meta.gate.json").read_text())
    assert len(kept["records"]) == 11  # those of before stay in the report


def test_a_changed_file_is_read_again(meta: Path) -> None:
    assert flags(gate(meta)[0])[0] is True
    torch.save(shaking(features("walk")), meta.parent / "data/refs/0.pt")
    assert flags(gate(meta)[0])[0] is False


def test_another_file_gets_all_entries_and_the_meta_file_stays(meta: Path) -> None:
    before = meta.read_bytes()
    out = meta.with_name("gated.json")
    gate(meta, "--out", str(out), "--limit", "1", code=0)
    assert meta.read_bytes() == before
    assert not meta.with_name("meta.json.bak").exists()
    assert len(json.loads(out.read_text())) == 12
    assert "é" in out.read_text(encoding="utf-8")


def test_nothing_is_written_where_no_flag_changes(meta: Path) -> None:
    gate(meta)
    stamp = meta.stat().st_mtime_ns
    gate(meta)
    assert meta.stat().st_mtime_ns == stamp
    assert [path.name for path in meta.parent.glob("*.bak")] == ["meta.json.bak"]


def test_a_meta_file_that_changes_meanwhile_is_not_overwritten(meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        entries = json.loads(meta.read_text())
        meta.write_text(json.dumps([*entries, {"global_id": 99}]))
        return judge_of(body)

    with serving(reply) as server:
        assert run(main, ["--meta", str(meta), "--judge", f"{server.address}#seer", "--limit", "1"]) == 2
    assert "changed while" in capsys.readouterr().err
    assert json.loads(meta.read_text())[-1] == {"global_id": 99}


def test_paths_begin_at_a_root(meta: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere/meta.json"
    moved.write_bytes(meta.read_bytes())
    assert flags(gate(moved)[0])[0] is True  # found from a folder above
    empty = tmp_path / "empty"
    empty.mkdir()
    assert flags(gate(moved, "--root", str(empty))[0])[0] is False
    assert flags(gate(moved, "--root", str(tmp_path))[0])[0] is True


def test_a_sheet_shows_both_kinds(meta: Path) -> None:
    from PIL import Image

    gate(meta, "--sheet", str(meta.with_name("sheet.png")))
    assert Image.open(meta.with_name("sheet.png")).height > 5 * 200


@pytest.mark.parametrize(("content", "words"), [
    ("{", "no JSON"), ("{}", "an object"), ("[]", "an empty list"), ("[1, NaN]", "NaN"), ("\xff\xfe", "no JSON"),
    ('[{"id": 1}]', "none of its 1"),
])  # fmt: skip
def test_what_is_no_meta_file(content: str, words: str, meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta.write_bytes(content.encode("latin-1"))
    assert run(main, ["--meta", str(meta)]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert meta.read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("options", [
    ["--jitter-threshold", "0"], ["--jitter-threshold", "nan"], ["--fps", "0"], ["--threads", "0"], ["--limit", "0"],
    ["--root", "nowhere"], ["--judge", ""], ["--judge", "nowhere"], ["--answers", "x"],
    ["--report", "META"], ["--sheet", "META"], ["--report", "refs/0.pt"],
])  # fmt: skip
def test_options_that_cannot_be(options: list[str], meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = meta.read_bytes()
    places = {"META": str(meta), "refs/0.pt": str(meta.parent / "data/refs/0.pt")}
    assert run(main, ["--meta", str(meta), *[places.get(word, word) for word in options]]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert meta.read_bytes() == before


def test_entries_that_are_no_objects_stay(meta: Path) -> None:
    entries = [*json.loads(meta.read_text())[:1], "a word", None]
    meta.write_text(json.dumps(entries))
    found, report = gate(meta)
    assert found[1:] == ["a word", None]
    assert [record["error"][:7] for record in report["records"]] == ["", "entry 1", "entry 2"]


def test_a_run_that_is_stopped_is_gone_on_with(
    meta: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After Ctrl-C the report holds what was decided, the meta file is as it was, and the next run goes on."""
    before, real, read = meta.read_bytes(), gate_run.read_reference, []

    def stopped(path: Path, fps: float | None) -> Any:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(path)
        return real(path, fps)

    monkeypatch.setattr(gate_run, "read_reference", stopped)
    assert run(main, ["--meta", str(meta)]) == 130
    assert meta.read_bytes() == before
    assert len(json.loads(meta.with_name("meta.gate.json").read_text())["records"]) == 3
    monkeypatch.setattr(gate_run, "read_reference", real)
    entries, report = gate(meta)
    assert "3 known from before" in capsys.readouterr().out
    assert list(flags(entries).values())[:3] == [True, False, True]
    assert len(report["records"]) == 11


def test_numbers_and_words_name_the_same_entry(meta: Path) -> None:
    """A report of names as words is gone on with where the meta file has them as numbers, and the other way round."""
    gate(meta)
    entries = json.loads(meta.read_text())
    for entry in entries:
        if "global_id" in entry:
            name = entry["global_id"]
            entry["global_id"] = str(name) if isinstance(name, int) else int(name) if name == "1" else name
        entry.pop("use_ref_motion", None)
    meta.write_text(json.dumps(entries))
    found, report = gate(meta)
    assert flags(found)["0"] is True
    assert flags(found)[1] is False
    assert [record["global_id"] for record in report["records"][:3]] == ["0", 1, "2"]


def test_a_damaged_report_is_told_and_kept(meta: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate(meta)
    report = meta.with_name("meta.gate.json")
    content = json.loads(report.read_text())
    for damage in ({"records": [1]}, {"records": [{"vlm_raw": ""}]}, {"format": "x"}):
        report.write_text(json.dumps(content | damage))
        capsys.readouterr()
        assert run(main, ["--meta", str(meta)]) == 2
        assert "--report" in capsys.readouterr().err
        assert json.loads(report.read_text()) == content | damage


def test_a_number_beyond_floats_is_told_before_anything_is_read(tmp_path, capsys):
    meta = tmp_path / "meta.json"
    meta.write_text('[{"motion_path": "a.pt", "x": 1e999}]')
    assert run(main, ["--meta", str(meta)]) == 2
    assert "1e999 is no number of JSON" in capsys.readouterr().err


def test_a_reference_in_one_place_is_no_motion_and_a_long_name_one_line(tmp_path, capsys):
    torch.save(torch.zeros(30, 276), tmp_path / "a.pt")
    meta = tmp_path / "meta.json"
    meta.write_text(json.dumps([{"global_id": "x" * 5000, "motion_path": "a.pt"}]))
    assert run(main, ["--meta", str(meta)]) == 1
    wrong = capsys.readouterr().err
    assert len(wrong) < 320 and "one place" in wrong
    assert json.loads(meta.read_text())[0]["use_ref_motion"] is False
