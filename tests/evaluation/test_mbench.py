"""MBench: runs over models and over folders, by the command and from Python; records, columns, tables, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run as command
from commands.test import main
from mld.checkpoint import save_model
from mld.evaluation.judge import JudgeError
from mld.evaluation.results_file import read_results
from mld.evaluation.suites.mbench import run as runs
from mld.evaluation.suites.mbench import scoring
from mld.evaluation.suites.mbench.dimensions import CONSISTENCY, DIMENSIONS, GENERALIZABILITY, JOINT, POSES, QUALITY
from mld.evaluation.suites.mbench.judged import JudgedScorer
from mld.evaluation.suites.mbench.pose import PoseScorer
from mld.evaluation.suites.mbench.prompts import read_suite
from mld.evaluation.suites.mbench.scorers import open_scorers
from mld.evaluation.suites.mbench.scoring import JudgeScorer
from mld.evaluation.suites.mbench.settings import COLUMNS, MBenchSettings
from mld.evaluation.suites.mbench.sources import FolderSource
from mld.metrics.mbench import motion_quality
from mld.metrics.uncertainty import PerItem, bootstrap_mean
from mld.models.pose_distance import PoseDistance
from prepare.leaderboard import main as leaderboard
from tests.models.tiny import tiny_motiongpt
from tests.motion import small_smpl
from tests.view import chromium
from tests.walking import walker

JOINTS = [name for name, one in DIMENSIONS.items() if one.needs == JOINT]
OTHERS = ["sitting", "waving", "bowing"]
PROMPTS = [
    *({"id": number, "group": QUALITY, "seconds": 1.0 + number / 4, "prompt": f"a person walks {number}"}
      for number in range(4)),
    {"id": 7, "group": CONSISTENCY, "seconds": 1, "prompt": "walking", "others": OTHERS},
    {"id": "last", "group": GENERALIZABILITY, "seconds": 1, "prompt": "walking </script>"},
]  # fmt: skip


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "few", "prompts": PROMPTS}))
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Motions of another system, one for each prompt."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for place, one in enumerate(PROMPTS):
        joints = walker(30 + place, turning=0.01 * place)
        joints[..., 1] -= 0.02 * place
        np.save(folder / f"{one['id']}.npy", joints.numpy())
    return folder


@pytest.fixture
def call(suite: Path, tmp_path: Path, capsys):
    """The command over the small suite: exit code, what it printed, and `results.json`."""

    def outcome(*arguments: object, out: str = "out") -> tuple[int, str, str, dict]:
        words = ["--task", "mbench", "--suite", suite, "--out", tmp_path / out, "--cache", tmp_path / "cache"]
        capsys.readouterr()
        code = command(main, [*map(str, words), "--device", "cpu", *map(str, arguments)])
        file = tmp_path / out / "results.json"
        return code, *capsys.readouterr(), read_results(file) if file.is_file() else {}

    return outcome


def entries(results: dict, column: str) -> dict[str, dict]:
    found = results["tasks"]["mbench-motion"]
    return {name.split("/")[1]: entry for name, entry in found.items() if name.startswith(column)}


def test_both_columns_of_a_folder(call, results: Path) -> None:
    code, said, wrong, found = call("--results", results)
    assert (code, wrong) == (0, "") and found["data"]["problems"] == []
    motions = [np.load(results / f"{number}.npy") for number in range(4)]
    for column, up in (("strict", 1), ("upstream", 2)):
        values = [motion_quality(joints, up) for joints in motions]
        for name in JOINTS:
            entry, mine = entries(found, column)[name], torch.tensor([value[name] for value in values]).double()
            assert entry["value"] == pytest.approx(float(mine.mean()), abs=1e-6)
            assert entry["std"] == pytest.approx(float(mine.std(unbiased=False)), abs=1e-6)
            interval = bootstrap_mean(PerItem(torch.arange(4), mine, torch.ones(4)))
            assert entry["interval_over_items"] == pytest.approx(list(interval), abs=1e-6)
            assert (entry["n"], entry["of"], entry["coverage"]) == (4, 4, 1.0)
    assert entries(found, "strict")["Foot_Sliding"]["value"] != entries(found, "upstream")["Foot_Sliding"]["value"]
    assert entries(found, "strict")[CONSISTENCY] | {"value": None} == entries(found, "strict")[CONSISTENCY]
    assert "no judge" in entries(found, "strict")[CONSISTENCY]["reason"]
    assert "| Jitter Degree" in said and "The columns differ because" in said
    text = (Path(found["folder"]) / "results.tex").read_text()
    assert r"\toprule" in text and "Jitter Degree" in text


def test_the_mode_ranks_and_comes_first(call, results: Path) -> None:
    for mode in COLUMNS:
        _, said, _, found = call("--results", results, "--mode", mode, out=mode)
        assert next(iter(found["tasks"]["mbench-motion"])).startswith(mode)
        assert re.search(rf"\|\s+\| {mode} ", said)


def test_missing_motions_are_not_ranked_unless_asked(call, results: Path) -> None:
    (results / "2.npy").unlink()
    code, said, wrong, found = call("--results", results)
    strict, upstream = entries(found, "strict")["Jitter_Degree"], entries(found, "upstream")["Jitter_Degree"]
    assert code == 1 and strict["value"] is None and strict["reason"].startswith("partial: 3 of 4")
    assert upstream["value"] > 0 and (upstream["n"], upstream["of"]) == (3, 4) and "(3/4)" in said
    assert "prompt 2: no file of this prompt" in wrong
    code, _, _, found = call("--results", results, "--partial")
    assert code == 0 and entries(found, "strict")["Jitter_Degree"]["value"] == pytest.approx(upstream["value"])


def test_a_bad_file_and_a_short_one_cost_their_own_values_alone(call, results: Path) -> None:
    joints = np.load(results / "1.npy")
    joints[3, 4] = np.nan
    np.save(results / "1.npy", joints)
    np.save(results / "0.npy", np.load(results / "0.npy")[:2])
    code, _, wrong, found = call("--results", results, "--published-files", "--partial")
    jitter, dynamic = (entries(found, "strict")[name] for name in ("Jitter_Degree", "Dynamic_Degree"))
    assert code == 1 and (jitter["n"], dynamic["n"]) == (2, 3) and "1.npy: NaN or infinity" in wrong
    assert jitter["missing"] == {"2 frames are too few": 1, next(k for k in jitter["missing"] if "NaN" in k): 1}
    folder = Path(found["folder"])
    for file in [*folder.rglob("*.json")]:
        assert "NaN" not in re.sub(r'"[^"]*"', "", file.read_text())
    assert len(list((folder / "published").iterdir())) == 3
    motions = json.loads((folder / "published" / "mbench_results_per_motion_results.json").read_text())["motions"]
    assert [motion["id"] for motion in motions] == [0, 2, 3] and "Jitter_Degree" not in motions[0]["dimensions"]


def test_a_second_run_scores_only_what_is_new(call, results: Path, monkeypatch) -> None:
    _, _, _, first = call("--results", results)
    scored = []

    def counted(joints, up: int) -> dict[str, float]:
        scored.append(len(joints))
        return motion_quality(joints, up)

    monkeypatch.setattr(scoring, "motion_quality", counted)
    _, _, _, again = call("--results", results)
    assert scored == [] and again["tasks"] == first["tasks"]
    np.save(results / "3.npy", np.load(results / "3.npy")[:25])
    _, _, _, changed = call("--results", results)
    assert scored == [25, 25]
    assert entries(changed, "strict")["Jitter_Degree"]["value"] != entries(first, "strict")["Jitter_Degree"]["value"]
    record = Path(changed["folder"]) / "records" / "3.json"
    record.write_text("{")  # damaged: found again
    _, _, _, mended = call("--results", results)
    assert scored == [25] * 4 and mended["tasks"] == changed["tasks"]


def test_a_folder_of_another_run_is_refused(call, results: Path) -> None:
    call("--results", results)
    code, _, wrong, _ = call("--results", results, "--floor", "lowest")
    assert code == 2 and "holds another evaluation" in wrong and "floor" in wrong
    assert call("--results", results, "--floor", "lowest", "--restart")[0] == 0


def test_several_systems_have_folders_of_their_own_and_a_common_table(call, results: Path, tmp_path: Path) -> None:
    """Also of one name, and one that cannot be scored does not stop the others."""
    other = tmp_path / "again" / results.name
    other.mkdir(parents=True)
    for file in results.iterdir():  # numbers may have zeros before them
        np.save(other / (f"{int(file.stem):04d}.npy" if file.stem.isdecimal() else file.name), np.load(file))
    code, said, wrong, _ = call("--results", results, tmp_path / "again", other)
    assert code == 1 and wrong.startswith("error: --results") and "again: no file of any prompt" in wrong
    one, two = (read_results(tmp_path / "out" / name / "results.json") for name in ("theirs", "theirs-2"))
    assert one["tasks"] == two["tasks"] and one["folder"] != two["folder"]
    assert said.count("### mbench-motion: without evaluator, ") == 2 and "\n| theirs-2 " in said


class Judge:
    """Says the right label, and yes; refuses while it is away."""

    identity = "test judge"

    def __init__(self) -> None:
        self.away, self.asked = True, 0

    def ask(self, question: str, pictures, fps: float) -> str:
        self.asked += 1
        if self.away:
            raise JudgeError("judge cannot be reached", lasting=True)
        return "A person walks.\n\nThe nearest label of the list is: walking" if "label" in question else "Answer: yes"


def test_a_judge_that_is_away_costs_its_dimensions_and_is_asked_again(
    suite: Path, results: Path, tmp_path: Path, monkeypatch
) -> None:
    settings = MBenchSettings(out=tmp_path / "out", cache=tmp_path / "cache", published=True)
    judge = Judge()

    def run() -> dict:
        scorers = open_scorers(settings)
        for mode in COLUMNS:
            scorers[mode][-1] = JudgeScorer(JudgedScorer(judge, mode, 0, tmp_path / "answers"))
        return runs.Run(read_suite([suite]), FolderSource(results, settings), settings, scorers).run()

    found = run()
    for column in COLUMNS:
        assert entries(found, column)["Jitter_Degree"]["value"] > 0
        assert entries(found, column)[CONSISTENCY]["reason"] == "judge cannot be reached"
    assert found["data"]["problems"] == ["prompts 7, last: judge cannot be reached"]
    judge.away, judge.asked = False, 0
    found = run()
    assert judge.asked == 2 and found["data"]["problems"] == []
    for column in COLUMNS:
        entry = entries(found, column)[CONSISTENCY]
        assert entry["value"] == 1 and "test judge" in entry["protocol"]
    record = json.loads((settings.out / "records" / "7.json").read_text())["strict"][CONSISTENCY]
    assert record["said"]["prediction"] == "walking"
    assert sorted(record["said"]["candidates"]) == sorted(["walking", *OTHERS])
    written = json.loads((settings.out / "published" / "mbench_results_eval_results.json").read_text())[CONSISTENCY]
    assert written["aggregate"]["correct"] == written["aggregate"]["total"] == 1
    judge.asked = 0
    assert run()["tasks"] == found["tasks"] and judge.asked == 0
    without = runs.Run(read_suite([suite]), FolderSource(results, settings), settings, open_scorers(settings)).run()
    assert without["tasks"] == found["tasks"]  # what a judge said stays when a run names none


def test_pose_dimensions_come_with_a_body_and_weights_and_are_null_without(
    call, suite: Path, results: Path, tmp_path: Path, monkeypatch
) -> None:
    """One fit serves both columns and the next run."""
    monkeypatch.delenv("MLD_BODY_MODELS", raising=False)
    suite.write_text(json.dumps([{"id": 0, "group": POSES, "seconds": 1, "prompt": "a person stands"}]))
    np.save(results / "0.npy", np.load(results / "0.npy")[:6])
    small_smpl.write_body(tmp_path), small_smpl.write_prior(tmp_path), small_smpl.write_start(tmp_path)
    torch.manual_seed(0)
    torch.save({"model_state_dict": PoseDistance(5, 3, (8, 6)).state_dict()}, tmp_path / "nrdf.tar")
    code, _, _, found = call("--results", results)
    reasons = {name: entry["reason"] for name, entry in entries(found, "strict").items()}
    assert code == 0 and "--body-models" in reasons["Body_Penetration"] and "--nrdf" in reasons["Pose_Quality"]
    options = ("--results", results, "--body-models", tmp_path, "--nrdf", tmp_path / "nrdf.tar")
    _, _, wrong, found = call(*options)
    strict, upstream = entries(found, "strict"), entries(found, "upstream")
    assert strict["Pose_Quality"]["value"] > 0, wrong
    assert strict["Pose_Quality"]["value"] != upstream["Pose_Quality"]["value"]
    assert strict["Body_Penetration"]["value"] == upstream["Body_Penetration"]["value"] is not None
    assert "nrdf:" in strict["Pose_Quality"]["protocol"]
    assert len(list((tmp_path / "cache/mbench/poses").glob("*.npz"))) == 1
    monkeypatch.setattr(PoseScorer, "scores", None)  # what is known is not asked again
    assert call(*options)[3]["tasks"] == found["tasks"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tiny_motiongpt(), tmp_path_factory.mktemp("models") / "tiny" / "model", {})


def test_a_model_is_asked_for_the_lengths_of_the_prompts_and_goes_on(call, model: Path, monkeypatch) -> None:
    code, _, wrong, found = call("--model", model, "--batch-size", 2)
    assert code == 0, wrong
    motions = Path(found["folder"]) / "motions"
    assert sorted(path.stem for path in motions.iterdir()) == ["0", "1", "2", "3", "7", "last"]
    for one in PROMPTS:
        joints = np.load(motions / f"{one['id']}.npy")
        assert joints.shape[1:] == (22, 3) and abs(len(joints) - one["seconds"] * 20) <= 4
    assert found["data"]["lengths"]["motions"] == 4 and found["model"]["name"] == "tiny"  # of those that are scored
    kept = {path.name: path.read_bytes() for path in motions.iterdir()}
    (motions / "2.npy").unlink()
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    _, _, _, again = call("--model", model)
    assert {path.name: path.read_bytes() for path in motions.iterdir()} == kept and again["tasks"] == found["tasks"]
    assert call("--model", model, "--seed", 1)[0] == 2  # another seed, another run


def test_a_model_over_our_suite_quickly(model: Path, tmp_path: Path, capsys) -> None:
    words = ["--task", "mbench", "--quick", "--model", model, "--out", tmp_path / "out", "--device", "cpu"]
    assert command(main, [*map(str, words)]) == 0
    found = read_results(tmp_path / "out" / "results.json")
    assert found["data"]["clips"] == 3 and found["data"]["limited"]
    assert sorted(entries(found, "strict")) == sorted(JOINTS)


def test_tables_never_mix_modes_or_suites(call, results: Path, suite: Path, tmp_path: Path, capsys) -> None:
    call("--results", results, out="one")
    (results / "2.npy").unlink()
    call("--results", results, "--partial", out="two")
    suite.write_text(json.dumps({"name": "fewer", "prompts": PROMPTS[:2]}))
    call("--results", results, out="three")
    capsys.readouterr()
    assert command(leaderboard, [str(tmp_path / name) for name in ("one", "two", "three")]) == 0
    said = capsys.readouterr().out
    tables = said.split("### ")[1:]
    assert sorted(table.splitlines()[0].split(", ")[-1] for table in tables) == ["strict"] * 2 + ["upstream"] * 2
    few = [table for table in tables if "data few," in table]
    assert all("theirs (one)" in table and "theirs (two)" in table and "(3/4)" in table for table in few)
    assert all("not to be ranked" in table for table in few)
    assert all("(3/4)" not in table and "ranked" not in table for table in tables if "data fewer," in table)
    assert command(leaderboard, [str(tmp_path / "one"), "--with-published", "mbench"]) == 0
    said = capsys.readouterr().out
    assert "Published: mbench-motion" in said and "| ViMoGen " in said and " 0.0108 " in said


@pytest.mark.parametrize("words, message", [
    (("--dimensions", "Jitter"), "no dimension 'Jitter'; did you mean 'Jitter_Degree'?"),
    (("--devices", "2"), "runs in one process"), (("data.root=x",), "takes prompts, no clips"),
    (("--results", "nowhere"), "no such folder"), (("--up", "q"), "'q' is not an axis"),
    (("--fps", "0"), "not a frame rate"), (("--limit", "0"), "at least 1"), (("--text", "motion"), "no text"),
    (("--judge", "nobody"), "no folder of that name"), (("--controls",), "not for --task mbench"),
    (("--results", ".", "--model", "x"), "give one of the two"), (("--results", "tests"), "no file of any prompt"),
])  # fmt: skip
def test_wrong_usage_is_one_line(call, words: tuple[str, ...], message: str) -> None:
    code, said, wrong, found = call(*words)
    assert code == 2 and message in wrong and len(wrong.strip().splitlines()) == 1 and len(wrong) < 320 and not found


def test_options_of_mbench_are_refused_for_other_tasks(capsys) -> None:
    for words in (["--suite", "x"], ["--results", "x"], ["--judge", "x"], ["--partial"]):
        assert command(main, ["--task", "real", *words]) == 2
        assert f"{words[0]} is of --task mbench" in capsys.readouterr().err


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")
def test_the_page_shows_worst_and_best_of_each_dimension(call, results: Path, browser) -> None:
    _, _, _, found = call("--results", results)
    page = browser.page(1100, 900, dark=True)
    page.open(Path(found["folder"]) / "results.html")
    page.wait("document.getElementById('viewer')?.contentWindow?.mldViewer?.drawn > 0")
    viewer = "document.getElementById('viewer').contentWindow.mldViewer"
    shown = page.run(f"{viewer}.shown.map(i => {viewer}.captions()[i])")
    values = {number: motion_quality(np.load(results / f"{number}.npy"), 1) for number in range(4)}

    def order(name: str) -> list[str]:
        return [f"#{number} a person walks {number}" for number in sorted(values, key=lambda n: -values[n][name])]

    worst_first = order("Jitter_Degree")
    assert sorted(shown) == sorted(worst_first) and len(shown) == 4
    page.run("document.querySelectorAll('tbody button')[4].click()")
    page.wait(f"{viewer}.shown[0] >= 16")
    captions = page.run(f"{viewer}.shown.map(i => {viewer}.captions()[i])")
    assert captions == [*order("Dynamic_Degree")[::-1][:2], *order("Dynamic_Degree")[:2]]
    page.run("document.querySelectorAll('tbody button')[5].click()")
    page.wait("!document.getElementById('nothing').hidden")
    assert "no judge" in page.run("document.getElementById('nothing').textContent")
    for width in (1100, 390):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.run("(box => box.scrollWidth <= box.clientWidth)(document.getElementById('numbers'))")
    assert [event for event in page.events("Network.requestWillBeSent")
            if not event["request"]["url"].startswith(("file:", "data:", "blob:", "about:"))] == []  # fmt: skip
    assert page.events("Runtime.exceptionThrown") == []
    page.close()
