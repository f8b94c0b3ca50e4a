"""Probes: runs over models and over folders, by the command; samples, shares, what counts as failing, tables, the page.

What decides here is a double, "the pelvis goes 0.3 m along +z", so that numbers are known; the real predicates have
tests of their own, and one here at the end.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run as command
from commands.test import main
from mld.checkpoint import save_model
from mld.evaluation.results_file import read_results
from mld.evaluation.suites.probes import page, prompts, scoring
from mld.evaluation.suites.probes.predicates import Probe, Verdict, read_probes
from mld.metrics.physical import PhysicalSanity
from mld.metrics.uncertainty import PerItem, bootstrap_mean
from mld.motion.skeletons import get_skeleton
from prepare.leaderboard import main as leaderboard
from tests.models.tiny import tiny_motiongpt
from tests.view import chromium
from tests.walking import walker

WORDS = {"walk-1": "a person walks forward", "walk-2": "someone strolls </script> ahead", "turn-1": "turn left | now"}
BACK = "it goes {:.2f} m ahead; at least 0.30 m are needed"


def ahead(probe: Probe, joints: np.ndarray, fps: float) -> Verdict:
    assert fps == 20 and joints.shape[1:] == (22, 3)
    gone = float(joints[-1, 0, 2] - joints[0, 0, 2])
    return Verdict(gone > 0.3, () if gone > 0.3 else (BACK.format(gone),))


@pytest.fixture
def probes() -> tuple[Probe, ...]:
    one = replace(read_probes()[0], seconds=None)
    return tuple(replace(one, id=name, prompt=text, group=name.split("-")[0]) for name, text in WORDS.items())


@pytest.fixture
def call(probes, tmp_path: Path, capsys, monkeypatch):
    """The command over three probes: exit code, what it printed, and `results.json`."""
    monkeypatch.setattr(prompts, "read_probes", lambda path=None: probes)
    monkeypatch.setattr(scoring, "check", ahead)

    def outcome(*arguments: object, out: str = "out") -> tuple[int, str, str, dict]:
        capsys.readouterr()
        words = ["--task", "probes", "--out", tmp_path / out, "--device", "cpu", *arguments]
        code = command(main, list(map(str, words)))
        file = tmp_path / out / "results.json"
        return code, *capsys.readouterr(), read_results(file) if file.is_file() else {}

    return outcome


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Motions of another system: two of walk-1, one of walk-2, three of turn-1; those of `back` go backwards."""
    folder = tmp_path / "theirs"
    back = ("walk-1/1", "turn-1/2", "turn-1/10", "turn-1/x")
    for name in ("walk-1/0", "walk-2", *back):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", walker(30 + len(name), yaw=math.pi * (name in back)).numpy())
    return folder


def shares(results: dict) -> dict[str, dict]:
    return results["tasks"]["probes"]


def test_shares_of_a_folder_by_group_with_intervals_over_prompts(call, results: Path) -> None:
    code, said, wrong, found = call("--results", results)
    assert (code, wrong) == (0, "") and found["data"]["problems"] == []
    entries = shares(found)
    assert {name: entries[name]["value"] for name in ("walk", "turn")} == {"walk": pytest.approx(200 / 3), "turn": 0.0}
    assert entries["all"]["value"] == pytest.approx(200 / 6) and (entries["all"]["n"], entries["walk"]["n"]) == (6, 3)
    totals, weights = torch.tensor([100.0, 100, 0]).double(), torch.tensor([2.0, 1, 3]).double()
    interval = bootstrap_mean(PerItem(torch.arange(3), totals, weights))
    assert entries["all"]["interval_over_items"] == pytest.approx(list(interval))
    assert entries["turn"]["interval_over_items"] is None  # of one prompt nothing is known of others
    assert [one["passed"] for one in found["prompts"]] == [1, 1, 0]
    files = [sample["file"] for sample in found["prompts"][2]["samples"]]
    assert files == ["turn-1/2.npy", "turn-1/10.npy", "turn-1/x.npy"]
    assert "| all " in said and "'turn left | now' 0/3" in said


def test_a_motion_that_fails_is_reported_with_its_reason(call, results: Path) -> None:
    found = call("--results", results)[3]
    joints = np.load(results / "walk-1/1.npy")
    reason = BACK.format(joints[-1, 0, 2] - joints[0, 0, 2])
    good, bad = found["prompts"][0]["samples"]
    assert (good["passed"], good["reasons"], bad["passed"], bad["reasons"]) == (True, [], False, [reason])
    text = (Path(found["folder"]) / "results.md").read_text()
    assert f"| walk-1 | walk | a person walks forward | 1/2 | 1: {reason} |" in text
    assert "someone strolls &lt;/script> ahead" in text and "turn left \\| now" in text
    assert reason in (Path(found["folder"]) / "results.html").read_text()


def test_physical_numbers_are_means_over_all_motions(call, results: Path) -> None:
    found = call("--results", results)[3]
    sanity = PhysicalSanity(get_skeleton("smpl22"), 20.0)
    files = [sample["file"] for one in found["prompts"] for sample in one["samples"]]
    sanity.update([torch.from_numpy(np.load(results / file)) for file in files])
    for name, score in sanity.scores().items():
        assert shares(found)[name]["value"] == pytest.approx(score.value, rel=1e-5), name
        assert shares(found)[name]["n"] == 6 and shares(found)[name]["interval_over_items"] is not None


def test_what_is_missing_or_cannot_be_read_has_not_passed(call, results: Path) -> None:
    (results / "walk-2.npy").unlink()
    joints = np.load(results / "walk-1/0.npy")
    joints[3, 4] = np.nan
    np.save(results / "walk-1/0.npy", joints)
    code, _, wrong, found = call("--results", results)
    assert code == 1 and "prompt walk-2: no file of this prompt" in wrong and "0.npy: NaN or infinity" in wrong
    assert shares(found)["walk"]["value"] == 0 and shares(found)["walk"]["n"] == 3
    assert "NaN or infinity" in found["prompts"][0]["samples"][0]["reasons"][0]
    code, said, wrong, found = call("--results", results, "--partial")
    assert (code, wrong) == (0, "") and shares(found)["walk"]["n"] == 1 and shares(found)["walk"]["of"] == 3
    assert "not to be ranked" in said and "(1/3)" in said and found["prompts"][1]["of"] == 0


def test_so_many_samples_of_some_groups(call, results: Path) -> None:
    found = call("--results", results, "--samples", 1, "--limit", 1)[3]
    assert [(one["id"], one["of"]) for one in found["prompts"]] == [("walk-1", 1), ("turn-1", 1)]
    assert found["data"]["limited"] and shares(found)["all"]["value"] == 50
    found = call("--results", results, "--group", "turn")[3]
    assert [one["id"] for one in found["prompts"]] == ["turn-1"] and "walk" not in shares(found)
    assert found["data"]["captions_hash"] != found["data"]["hash"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tiny_motiongpt(), tmp_path_factory.mktemp("models") / "tiny" / "model", {})


def test_a_model_makes_several_motions_of_each_prompt_and_goes_on(call, model: Path) -> None:
    code, _, wrong, found = call("--model", model, "--samples", 2, "--batch-size", 3)
    assert code == 0, wrong
    motions = Path(found["folder"]) / "motions"
    files = sorted(path.relative_to(motions).as_posix() for path in motions.rglob("*.npy"))
    assert files == sorted(f"{name}/{number}.npy" for name in WORDS for number in range(2))
    kept = {file: (motions / file).read_bytes() for file in files}
    assert len(set(kept.values())) > 1 and found["model"]["name"] == "tiny" and shares(found)["all"]["n"] == 6
    (motions / "walk-2/1.npy").unlink()
    written = (motions / "walk-1/0.npy").stat().st_mtime_ns
    again = call("--model", model, "--samples", 2)[3]
    assert {file: (motions / file).read_bytes() for file in files} == kept and again["tasks"] == found["tasks"]
    more = call("--model", model, "--samples", 3)[3]
    assert shares(more)["all"]["n"] == 9 and (motions / "walk-1/0.npy").stat().st_mtime_ns == written
    code, _, wrong, _ = call("--model", model, "--seed", 1)
    assert code == 2 and "holds another evaluation" in wrong
    theirs = call("--results", motions, "--samples", 2, out="theirs")[3]  # its own folder reads as anybody's
    assert shares(theirs)["all"]["value"] == shares(found)["all"]["value"]


def test_restart_removes_what_a_run_made_and_nothing_else(call, model: Path, tmp_path: Path) -> None:
    """Motions that are given as `--results` stay, though they lie where a model's would be made; so does all else."""
    code, _, wrong, found = call("--model", model, "--samples", 1)
    assert code == 0, wrong
    motions = Path(found["folder"]) / "motions"
    kept = {path: path.read_bytes() for path in motions.rglob("*.npy")}
    assert len(kept) == len(WORDS)
    code, _, wrong, theirs = call("--results", motions, "--samples", 1, "--restart")
    assert code == 0 and theirs["model"]["folder"] == str(motions), wrong
    assert {path: path.read_bytes() for path in motions.rglob("*.npy")} == kept
    (tmp_path / "mine/motions").mkdir(parents=True)
    (tmp_path / "mine/motions/notes.txt").write_text("years of work")
    for words in ((), ("--restart",)):
        code, _, wrong, _ = call("--model", model, "--samples", 1, *words, out="mine")
        assert code == 2 and "holds motions/, which no run of probes made" in wrong
    assert (tmp_path / "mine/motions/notes.txt").read_text() == "years of work"


def test_a_length_is_asked_for_where_the_probe_names_one(call, probes, model: Path, monkeypatch) -> None:
    monkeypatch.setattr(prompts, "read_probes", lambda path=None: (replace(probes[0], seconds=1.2),))
    found = call("--model", model, "--samples", 1)[3]
    assert abs(found["prompts"][0]["samples"][0]["seconds"] - 1.2) <= 0.2


def test_several_systems_stand_in_one_table(call, results: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "others"
    other.mkdir()
    for name in WORDS:
        np.save(other / f"{name}.npy", walker(30).numpy())
    code, said, _, _ = call("--results", results, other)
    assert code == 0 and "| theirs " in said and "| others " in said
    capsys.readouterr()
    assert command(leaderboard, [str(tmp_path / "out" / name) for name in ("theirs", "others")]) == 0
    said = capsys.readouterr().out
    assert said.count("### ") == 1 and "| theirs " in said and "100.0" in said and "33.3" in said


@pytest.mark.parametrize("words, message", [
    (("--group", "wlak"), "no such group; did you mean 'walk'"), (("--samples", "0"), "at least 1"),
    (("--devices", "2"), "runs in one process"), (("data.root=x",), "takes prompts, no clips"),
    (("--results", "nowhere"), "no such folder"), (("--results", "tests"), "no file of any prompt"),
    (("--up", "q"), "'q' is not an axis"), (("--limit", "0"), "at least 1"), (("--judge", "x"), "of --task mbench"),
    (("--results", ".", "--model", "x"), "give one of the two"), (("--controls",), "not for --task probes"),
])  # fmt: skip
def test_wrong_usage_is_one_line(call, words: tuple[str, ...], message: str) -> None:
    code, _, wrong, found = call(*words)
    assert code == 2 and message in wrong and len(wrong.strip().splitlines()) == 1 and len(wrong) < 320 and not found


def test_options_of_probes_are_refused_for_other_tasks(capsys) -> None:
    for words in (["--task", "real", "--samples", "2"], ["--task", "mbench", "--group", "sides"]):
        assert command(main, words) == 2
        assert f"{words[2]} is of --task probes" in capsys.readouterr().err


def test_one_id_in_two_files_is_refused(call, results: Path) -> None:
    code, _, wrong, _ = call("--results", results, "--suite", "a.yaml", "b.yaml")
    assert code == 2 and "probe 'walk-1' is there twice" in wrong


GOOD = {"id": "a", "group": "sides", "prompt": "turn left", "expect": ["turns_left"]}


@pytest.mark.parametrize("content, message", [
    ([GOOD, {**GOOD, "id": "../b"}], "the id '../b' cannot be a name"),
    ([{**GOOD, "group": "all"}], "taken"),
    ([{**GOOD, "group": "jerk"}], "taken"), ([GOOD, {**GOOD, "id": "b", "expect": ["turns_lefd"]}], "turns_left"),
    ([{"id": "a", "prompt": "turn left"}], "expect"), ([GOOD, GOOD], "a"), ([{**GOOD, "seconds": "long"}], "seconds"),
    ([{**GOOD, "expect": []}], "expect"), ([{**GOOD, "wait": 1}], "wait"), ("a: [", "mine.yaml"), ("7", "mine.yaml"),
    ([], "mine.yaml"), ([7], "entry 1"), ([{**GOOD, "prompt": " "}], "words"),
    ([{**GOOD, "id": "x" * 200}], "cannot be a name"),
])  # fmt: skip
def test_a_line_that_is_no_probe_is_told_in_one(tmp_path: Path, content: object, message: str, capsys) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    assert command(main, ["--task", "probes", "--suite", str(file), "--results", str(tmp_path)]) == 2
    wrong = capsys.readouterr().err
    assert message in wrong and len(wrong.strip().splitlines()) == 1 and len(wrong) < 320


def test_probes_of_a_user(tmp_path: Path, results: Path) -> None:
    file = tmp_path / "mine.yaml"
    entries = [{**GOOD, "id": "walk-1", "expect": [{"forward": "> 0.6"}]}, {**GOOD, "id": "walk-2", "group": "mine"}]
    file.write_text(json.dumps(entries))
    words = ["--task", "probes", "--suite", file, "--results", results, "--out", tmp_path / "out"]
    assert command(main, list(map(str, words))) == 0
    found = read_results(tmp_path / "out/results.json")
    assert [one["passed"] for one in found["prompts"]] == [2, 0] and found["data"]["name"] == "mine"
    assert shares(found)["sides"]["value"] == 100 and shares(found)["mine"]["value"] == 0
    assert found["prompts"][1]["samples"][0]["reasons"]


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")
def test_the_page_plays_failing_motions_and_says_why(call, results: Path, browser, monkeypatch) -> None:
    monkeypatch.setattr(page, "MOST", 3)
    found = call("--results", results)[3]
    tab = browser.page(1100, 900, dark=True)
    tab.open(Path(found["folder"]) / "results.html")
    tab.wait("document.getElementById('viewer')?.contentWindow?.mldViewer?.drawn > 0")
    viewer = "document.getElementById('viewer').contentWindow.mldViewer"
    assert tab.run(f"{viewer}.captions()") == [WORDS["walk-1"], WORDS["turn-1"], WORDS["turn-1"]]  # one of each first
    assert tab.run(f"{viewer}.shown") == [0] and "33 %" in tab.run("document.querySelector('tbody tr').textContent")
    said = tab.run("[...document.querySelectorAll('#samples li')].map(line => line.textContent)")
    assert said[0].startswith("✓does what is said") and "m are needed (sample 1)" in said[1]
    tab.run("document.querySelectorAll('tbody button')[2].click()")
    tab.wait(f"JSON.stringify({viewer}.shown) === '[1,2]'")
    tab.run("document.querySelectorAll('tbody button')[1].click()")
    tab.run("document.querySelectorAll('#prompts button')[1].click()")
    tab.wait("!document.getElementById('nothing').hidden")
    assert "No motion of this prompt fails" in tab.run("document.getElementById('nothing').textContent")
    assert "3 of 4 failing motions are on this page" in tab.run("document.querySelector('footer').textContent")
    for width in (1100, 390):
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.run("(box => box.scrollWidth <= box.clientWidth)(document.getElementById('numbers'))")


def test_our_own_list_tells_walking_from_standing(tmp_path: Path, capsys) -> None:
    """With the real prompts and predicates: a figure that walks, and one that stands, for every prompt."""
    share = {}
    for kind in ("walks", "stands"):
        folder = tmp_path / kind
        folder.mkdir()
        joints = walker(80).numpy()
        for probe in read_probes():
            np.save(folder / f"{probe.id}.npy", joints if kind == "walks" else np.repeat(joints[:1], 80, axis=0))
        words = ["--task", "probes", "--results", str(folder), "--out", str(tmp_path / "out" / kind)]
        assert command(main, words) == 0, capsys.readouterr().err
        found = json.loads((tmp_path / "out" / kind / "results.json").read_text())
        passed = {one["prompt"] for one in found["prompts"] if one["passed"]}
        share[kind] = shares(found)["all"]["value"]
        assert any("walk" in prompt for prompt in passed) == (kind == "walks")
        assert all(sample["reasons"] for one in found["prompts"] for sample in one["samples"] if not sample["passed"])
    assert share["stands"] <= share["walks"] < 25
