"""Results of several models side by side: one protocol, one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.common import run
from mld.evaluation.leaderboard import merge, published
from mld.evaluation.protocol import Protocol
from prepare.leaderboard import main


def entry(value: float | None, protocol: str) -> dict:
    reason = {} if value is not None else {"reason": "too few"}
    return {"value": value, "ci95": 0.01, "values": [value], "unit": "", "n": 40, "protocol": protocol, **reason}


def results(name: str, fid: float, protocol: Protocol | None = None, evaluator: str = "guo-own@1", reps: int = 20,
            data: str = "d1", captions: int = 100) -> dict:  # fmt: skip
    protocol = protocol or Protocol()
    how = protocol.identity("t2m", evaluator)
    return {
        "model": {"name": name, "weights_hash": "w"}, "seeds": {"seed": 0, "replications": reps},
        "data": {"name": "set test", "clips": 40, "hash": data, "captions_hash": "c"},
        "evaluators": {"guo": {"name": evaluator}},
        "rows": {"real": {"guo/FID": entry(0.002, protocol.identity("real", evaluator))}},
        "tasks": {"t2m": {
            "guo/FID": entry(fid, how), "guo/Diversity": entry(None, how),
            "guo/MultiModality": entry(2.0, protocol.identity(f"t2m/{captions}x30", evaluator)),
            "length_error": entry(0.5, protocol.identity("t2m")),
        }},
    }  # fmt: skip


def test_one_protocol_one_table() -> None:
    tables = merge({"a": results("a", 0.5), "b": results("b", 0.4)})
    assert [table.title for table in tables] == ["t2m: without evaluator", "t2m: Evaluator guo"]
    assert [name for name, _ in tables[0].rows] == ["a", "b"]
    board = tables[1]
    assert list(board.columns) == ["FID", "MModality"]
    assert [name for name, _ in board.rows] == ["real", "a", "b"]
    assert [cells[0]["value"] for _, cells in board.rows] == [0.002, 0.5, 0.4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": Protocol(crop="whole")}, "crop=coin4 here, crop=whole there"),
        ({"protocol": Protocol(mode="upstream")}, "strict here, upstream there"),
        ({"evaluator": "guo-own@2"}, "guo-own@1 here, guo-own@2 there"),
        ({"data": "d2"}, "other data"),
        ({"reps": 1}, "one replication against several"),
    ],
)
def test_different_protocols_never_share_a_table(change: dict, said: str) -> None:
    tables = [t for t in merge({"a": results("a", 0.5), "b": results("b", 0.4, **change)}) if "guo" in t.title]
    assert len(tables) == 2
    for table, name in zip(tables, "ab"):
        assert [row for row, _ in table.rows] == ["real", name]
    assert any(said in note for note in tables[0].notes)
    assert [", 1 replication" in table.notes[0] for table in tables] == [False, change.get("reps") == 1]


def test_embeddings_come_before_retrieval() -> None:
    content = results("a", 0.5)
    how = content["tasks"]["t2m"]["guo/FID"]["protocol"]
    content["tasks"]["t2m"] = {"guo/all/t2m/R01": entry(34.0, how), **content["tasks"]["t2m"]}
    titles = [table.title for table in merge({"a": content})]
    assert titles == ["t2m: without evaluator", "t2m: Evaluator guo", "t2m: Evaluator guo, retrieval 'all'"]


def test_a_metric_that_was_measured_differently_has_a_column_of_its_own() -> None:
    (board,) = [t for t in merge({"a": results("a", 0.5), "b": results("b", 0.4, captions=40)}) if "guo" in t.title]
    assert list(board.columns) == ["FID", "MModality (t2m/100x30)", "MModality (t2m/40x30)"]
    cells = dict(board.rows)
    assert (cells["a"][2], cells["b"][1]) == (None, None)


def write(folder: Path, content: object) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_command(tmp_path: Path, capsys) -> None:
    folders = [write(tmp_path / name, results("same", 0.5)) for name in "ab"]
    assert run(main, [str(folder) for folder in folders]) == 0
    printed = capsys.readouterr().out
    assert "same (a)" in printed
    assert "same (b)" in printed
    assert "Published" not in printed
    target = tmp_path / "board.tex"
    assert run(main, [str(folders[0]), "--with-published", "--out", str(target)]) == 0
    text = target.read_text()
    assert text.count(r"\begin{tabular}") == len(published(tasks=["t2m"])) + 2
    assert any(line.startswith("MotionGPT &") and "$0.232$" in line for line in text.splitlines())


def test_bad_results_are_left_out_by_name(tmp_path: Path, capsys) -> None:
    good = write(tmp_path / "good", results("a", 0.5))
    old = write(tmp_path / "old", {"tasks": {}})
    assert run(main, [str(good), str(old), str(tmp_path / "none")]) == 1
    said = capsys.readouterr()
    assert "old" in said.err
    assert "none" in said.err
    assert "t2m" in said.out
    assert run(main, [str(old)]) == 2
    assert run(main, [str(good), "--with-published", "humanml"]) == 2
    assert "known: humanml3d" in capsys.readouterr().err
