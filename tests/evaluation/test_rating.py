"""Sheets for raters: made from prompts and models, rated on the page, collected."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from commands.common import run
from mld.checkpoint import save_model
from mld.engine.pipeline import Pipeline
from mld.errors import DataError, RequestError
from mld.evaluation.rating.collect import collect, krippendorff, markdown
from mld.evaluation.rating.exports import read_export
from mld.evaluation.rating.prompts import Prompt, read_prompts
from mld.evaluation.rating.scale import AXES, FORMAT
from mld.evaluation.rating.sheet import Rated, Sheet, SheetSettings, read_sheet
from mld.metrics.uncertainty import PerItem, bootstrap_mean
from prepare.rating import main
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3
from tests.view import chromium

PROMPTS = 'a person walks\n\n../<b>jumps</b> & "sits"\tjumps\na person walks\n走路\tother\n'
LINES = [1, 3, 4, 5]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("models")
    made = {"one": tiny_motiongpt(), "two": tiny_motiongpt3()}
    return [str(save_model(model, root / name / "model", {})) for name, model in made.items()]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "mine.txt"
    path.write_bytes(("\ufeff" + PROMPTS.replace("\n", "\r\n")).encode())
    return path


@pytest.fixture(scope="module")
def made(models: list[str], prompts: Path, tmp_path_factory) -> Path:
    """A sheet of both models, made by the command."""
    out = tmp_path_factory.mktemp("sheet") / "out"
    named = [word for model in models for word in ("--model", model)]
    assert run(main, ["make", str(prompts), *named, "--out", str(out), "--seconds", "0.4", "--device", "cpu"]) == 0
    return out


def export(folder: Path, rater: str, value, **changes) -> dict:
    """What the page saves: value(line, model, axis) for every motion, None for none."""
    about = read_sheet(folder)
    rows = []
    for entry in about["prompts"]:
        for clip in entry["clips"]:
            values = {axis: value(entry["line"], clip["model"], axis) for axis in AXES}
            rows.append({"line": entry["line"], "clip": clip["id"], **{k: v for k, v in values.items() if v}})
    head = {"format": FORMAT, "sheet": about["sheet"], "models": about["hashes"], "rater": rater}
    return {**head, "ratings": rows, **changes}


def written(folder: Path, name: str, content: dict) -> Path:
    path = folder / name
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
        return path
    head = {key: content[key] for key in ("format", "sheet", "rater")} | {"models": " ".join(content["models"])}
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["format", "sheet", "models", "rater", "line", "clip", *AXES])
        writer.writeheader()
        writer.writerows({**head, **row} for row in content["ratings"])
    return path


def test_prompts_are_lines_of_a_file(prompts: Path, tmp_path: Path) -> None:
    found, told = read_prompts(prompts)
    assert [prompt.line for prompt in found] == LINES and found[0].text == found[2].text
    assert [prompt.category for prompt in found] == ["", "jumps", "", "other"]
    assert told == [f"{prompts}: 1 blank, left out: line 2"]
    assert [p.folder for p in found] == ["001-a-person-walks", "003-b-jumps-b-sits", "004-a-person-walks", "005-prompt"]
    (tmp_path / "bad.txt").write_bytes("häßlich".encode("latin-1"))
    (tmp_path / "blank.txt").write_text("\n \n")
    for name, message in (("bad.txt", "not UTF-8"), ("blank.txt", "no prompt in it"), ("none.txt", "no file")):
        with pytest.raises((DataError, RequestError), match=message):
            read_prompts(tmp_path / name)


def test_a_motion_and_a_video_of_every_prompt_and_model(made: Path) -> None:
    about = read_sheet(made)
    assert [entry["line"] for entry in about["prompts"]] == LINES
    for entry in about["prompts"]:
        folder = made / entry["folder"]
        assert sorted(clip["model"] for clip in entry["clips"]) == [0, 1]
        names = {f"{clip['id']}{suffix}" for clip in entry["clips"] for suffix in (".npy", ".mp4")}
        assert {path.name for path in folder.iterdir()} == {*names, "prompt.txt"}
        assert folder.parent == made and (folder / "prompt.txt").read_text().strip() == entry["text"]
    orders = {tuple(clip["model"] for clip in entry["clips"]) for entry in about["prompts"]}
    assert len(orders) == 2, "the order of models is drawn for each prompt"
    page = (made / "rating.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "") and "<b>jumps" not in page
    assert not any(model["name"] in page for model in about["models"] if len(model["name"]) > 3)
    assert all(model["source"] not in page for model in about["models"])


def test_a_sheet_goes_on_and_is_not_mixed(made: Path, models: list[str], prompts: Path, capsys, monkeypatch) -> None:
    lost = next(made.rglob("*.mp4"))
    content, others = lost.read_bytes(), {path: path.stat().st_mtime_ns for path in made.rglob("*.npy")}
    lost.unlink()
    opened = []
    load = Pipeline.load
    monkeypatch.setattr(Pipeline, "load", lambda source, device: opened.append(source) or load(source, device))
    command = ["make", str(prompts), "--model", models[0], "--model", models[1], "--out", str(made), "--device", "cpu"]
    assert run(main, [*command, "--seconds", "0.4"]) == 0
    assert lost.read_bytes() == content and len(opened) == 1, "the same motion again, the other model was not opened"
    changed = [path for path, time in others.items() if path.stat().st_mtime_ns != time]
    assert changed == [lost.with_suffix(".npy")]
    assert run(main, [*command, "--seconds", "0.4", "--seed", "1"]) == 2
    assert "holds another sheet" in capsys.readouterr().err
    assert run(main, [*command[:4], "--model", models[0], "--out", "x"]) == 2
    assert "have the same weights" in capsys.readouterr().err


def test_one_prompt_that_fails_is_told_and_the_rest_is_done(models: list[str], tmp_path: Path, monkeypatch) -> None:
    def broken(self, requests, batch_size=8, progress=False):
        if any("jumps" in request.prompt[0].text for request in requests):
            raise RequestError("no jumps here")
        return real(self, requests, batch_size, progress)

    real = Pipeline.run
    monkeypatch.setattr(Pipeline, "run", broken)
    said: list[str] = []
    asked = [Prompt(1, "a person walks"), Prompt(2, "a person jumps"), Prompt(3, "a\x07bell", error="a control")]
    sheet = Sheet(tmp_path, asked, [Rated.of(models[0])], SheetSettings(seconds=0.4))
    assert sheet.make(said.append) == 2
    assert said == ["line 2, one: no jumps here", "line 3: a control"]
    entries = read_sheet(tmp_path)["prompts"]
    assert [("frames" in e["clips"][0], e["clips"][0].get("error")) for e in entries] == [
        (True, None), (False, "no jumps here"), (False, "a control")]  # fmt: skip
    monkeypatch.setattr(Pipeline, "run", real)
    whole = Sheet(tmp_path, asked, [Rated.of(models[0])], SheetSettings(seconds=0.4, embed=True))
    assert whole.make(said.append) == 1
    page = (tmp_path / "rating.html").read_text()
    assert page.count("data:video/mp4;base64,") == 2 and ".mp4\"" not in page, "one file holds the videos as well"


def test_means_and_agreement(made: Path, tmp_path: Path, capsys) -> None:
    def anna(line: int, model: int, axis: str) -> int:
        return 2 + 2 * model + (line == 5)

    def ben(line: int, model: int, axis: str) -> int:
        return anna(line, model, axis) - (line == 1)

    files = [written(tmp_path, "anna.json", export(made, "anna", anna)),
             written(tmp_path, "ben.csv", export(made, "ben", ben))]  # fmt: skip
    assert run(main, ["collect", str(made), *map(str, files), "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    means = {(row["model"], row["axis"], row["category"]): row for row in report["means"]}
    first = means["one", "text_alignment", "all"]
    assert first["value"] == pytest.approx((2 * 6 + 3 * 2 - 1) / 8) and (first["prompts"], first["ratings"]) == (4, 8)
    sums = torch.tensor([3.0, 4, 4, 6]).double(), torch.full((4,), 2.0).double()
    assert first["interval"] == pytest.approx(bootstrap_mean(PerItem(torch.arange(4), *sums)))
    assert means["two", "motion_smoothness", "other"]["value"] == 5
    assert all(row["value"] == pytest.approx(2) for row in report["differences"])
    assert 0.5 < report["agreement"]["text_alignment"]["alpha"] < 1
    assert "2 raters (anna, ben)" in printed and "| one, jumps | 1 |" in printed


def test_krippendorff_as_in_his_example() -> None:
    """Krippendorff (2011), four observers, twelve units: interval alpha 0.849."""
    observers = [[1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
                 [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0]]  # fmt: skip
    units = [[values[unit] for values in observers if values[unit]] for unit in range(12)]
    assert krippendorff(units) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff([[1], [2]]) is None and krippendorff([[2, 2], [2, 2]]) is None


REFUSED = {
    "rates other weights": {"models": ["0" * 16, "1" * 16]},
    "ratings of another sheet": {"sheet": "0" * 16},
    "does not say who": {"rater": " "},
    "of format": {"format": "other"},
    "expected 1 to 5": {"ratings": [{"clip": "CLIP", "text_alignment": 9}]},
    "that the sheet does not have": {"ratings": [{"clip": "nobody", "text_alignment": 1}]},
    "twice": {"ratings": [{"clip": "CLIP"}, {"clip": "CLIP"}]},
    "is no rating": {"ratings": [3]},
    "not what the rating page saves": {"ratings": 3},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_export_of_this_sheet_is_refused(message: str, made: Path, tmp_path: Path) -> None:
    clip = read_sheet(made)["prompts"][0]["clips"][0]["id"]
    content = export(made, "anna", lambda *_: 3) | REFUSED[message]
    text = json.dumps(content).replace("CLIP", clip)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_export(tmp_path / "a.json", read_sheet(made))


def test_a_refused_export_is_told_and_the_rest_counts(made: Path, tmp_path: Path, capsys) -> None:
    good = written(tmp_path, "good.json", export(made, "anna", lambda *_: 3))
    bad = written(tmp_path, "bad.csv", export(made, "ben", lambda *_: 3, models=["f" * 16]))
    assert run(main, ["collect", str(made), str(good), str(bad)]) == 1
    out, err = capsys.readouterr()
    assert "left out: " in err and "rates other weights" in err and "1 rater (anna)" in out
    assert "needs two raters of a motion" in out
    assert run(main, ["collect", str(made), str(bad)]) == 2 and run(main, ["collect", str(tmp_path), str(good)]) == 2
    twice = [read_export(good, read_sheet(made))] * 2
    with pytest.raises(DataError, match="two exports are of the rater 'anna'"):
        collect(read_sheet(made), twice)
    part = written(tmp_path, "part.json", export(made, "eve", lambda line, model, axis: 4 if model else None))
    report = collect(read_sheet(made), [read_export(part, read_sheet(made))])
    assert "| one | 0 | – | – | – |" in markdown(report)


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")
def test_the_page_is_rated_by_keyboard_kept_and_saved(made: Path, tmp_path: Path) -> None:
    browser = chromium.Chromium(chromium.find(), tmp_path / "profile")
    try:
        for width in (1000, 390):
            page = browser.page(width, 800, calm=True)
            page.open(made / "rating.html")
            page.wait("document.querySelectorAll('video').length === 2")
            page.wait("[...document.querySelectorAll('video')].every(video => video.readyState >= 2)")
            assert page.run("document.documentElement.scrollWidth <= innerWidth")
            if width == 390:
                assert page.run("document.getElementById('count').textContent") == "2 of 8 motions rated"
                assert page.run("document.getElementById('rater').value") == "eve 1"
                break
            for key in "512345":
                page.key(key)
            page.run("document.getElementById('rater').value = 'eve 1';"
                     "document.getElementById('rater').dispatchEvent(new Event('input'))")  # fmt: skip
            page.key("n")
            assert page.run("document.getElementById('prompt').textContent").startswith("../<b>jumps</b>")
            page.run("""(() => { window.saved = [];
                URL.createObjectURL = (blob) => { blob.text().then((text) => window.saved.push(text)); return "#"; };
                HTMLAnchorElement.prototype.click = () => {};
                document.getElementById('json').click(); document.getElementById('csv').click(); })()""")
            page.wait("window.saved.length === 2")
            for name, text in zip(("a.json", "b.csv"), page.run("window.saved")):
                (tmp_path / name).write_text(text)
            page.close()
    finally:
        browser.close()
    sheet = read_sheet(made)
    first, second = (read_export(tmp_path / name, sheet) for name in ("a.json", "b.csv"))
    shown = [clip["id"] for clip in sheet["prompts"][0]["clips"]]
    assert first == second and first.rater == "eve 1"
    assert [list(first.marks[clip].values()) for clip in shown] == [[5, 1, 2], [3, 4, 5]]


def test_models_of_one_name_and_a_category_called_all(models: list[str], tmp_path: Path, monkeypatch) -> None:
    rated = [Rated("final", models[0], "a" * 16), Rated("final", models[1], "b" * 16)]
    asked = [Prompt(1, "walk", "all"), Prompt(2, "run", "fast")]
    sheet = Sheet(tmp_path, asked, rated, SheetSettings())
    sheet.save()
    found = read_export(written(tmp_path, "a.json", export(tmp_path, "a", lambda line, model, _: 1 + line + model)),
                        read_sheet(tmp_path))  # fmt: skip
    report = collect(read_sheet(tmp_path), [found])
    values = {(row["model"], row["category"]): row["value"] for row in report["means"]}
    first, second = f"final {'a' * 16}", f"final {'b' * 16}"
    assert values[first, "all"] == 2.5 and values[second, "all"] == 3.5
    assert values[first, "all (category)"] == 2 and values[second, "fast"] == 4
    assert f"| {first} | 2 |" in markdown(report) and f"| {second} | 2 |" in markdown(report)


def test_a_report_does_not_overwrite_what_it_is_of(made: Path, tmp_path: Path, capsys) -> None:
    good = written(tmp_path, "good.json", export(made, "anna", lambda *_: 3))
    kept = {path: path.read_bytes() for path in (good, made / "sheet.json")}
    for out in (made / "sheet.json", made / "sheet", tmp_path / "good.md", good):
        assert run(main, ["collect", str(made), str(good), "--out", str(out)]) == 2
        assert "name another file" in capsys.readouterr().err
    assert run(main, ["collect", str(made), str(good), "--out", f"{tmp_path}/"]) == 2
    assert {path: path.read_bytes() for path in kept} == kept
    assert run(main, ["collect", str(made), str(good), "--out", str(tmp_path / "v1.2")]) == 0
    assert (tmp_path / "v1.2.json").is_file() and (tmp_path / "v1.2.md").is_file()


def test_a_table_that_was_edited_by_hand(made: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", export(made, "anna", lambda *_: 3))
    head, *rows = path.read_text().splitlines()
    for text in (f"{head}\nmld-rating/1", f"{head}\n{rows[0]}\nnotes", head.replace(",", ";"), "\n\n", rows[0]):
        path.write_text(text)
        with pytest.raises(DataError):
            read_export(path, read_sheet(made))


@pytest.mark.parametrize("change", [{"prompts": None}, {"prompts": [3]}, {"models": {}}, {"hashes": 1}, {"sheet": 1}])
def test_a_sheet_that_was_edited_by_hand(change: dict, made: Path, tmp_path: Path) -> None:
    (tmp_path / "sheet.json").write_text(json.dumps(read_sheet(made) | change))
    with pytest.raises(DataError, match="cannot be read"):
        read_sheet(tmp_path)
