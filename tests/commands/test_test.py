"""The command `test`, run as users run it, on a tiny model, a tiny evaluator and the procedural set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tasks
from commands.test import main
from mld.metrics.captions import lemmatiser_name
from tests.commands.conftest import ROOT, command
from tests.walking import walker

SMALL = ("data.procedural_size=64", "--limit", "4")
GROUPS = ("data.procedural_size=272", "--limit", "34")  # clips for one group of 32


def read(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def values(results: dict) -> dict[str, float]:
    """Every value of a results file, NaN for null."""
    rows = {**results["rows"], **results["tasks"]}
    found = {f"{row} {name}": entry["value"] for row, entries in rows.items() for name, entry in entries.items()}
    return {name: float("nan") if value is None else value for name, value in found.items()}


def test_all_tasks_without_an_evaluator(model_folder: Path, tmp_path: Path) -> None:
    done = command(
        "-m", "test", "--model", model_folder, *SMALL, "--out", tmp_path, "--reps", 2, "--evaluator", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = read(tmp_path)
    assert list(results["tasks"]) == [name for name in tasks.NAMES if name != "stream"]
    mpjpe = results["tasks"]["recon"]["MPJPE"]
    assert mpjpe["value"] == pytest.approx(sum(mpjpe["values"]) / 2)
    assert mpjpe["ci95"] == pytest.approx(1.96 * np.std(mpjpe["values"]) / 2**0.5)
    assert (mpjpe["unit"], mpjpe["n"]) == ("mm", 4)
    for name in ("FID", "R_precision_top_1", "MultiModality"):
        assert results["tasks"]["t2m"][name]["value"] is None
        assert "evaluator" in results["tasks"]["t2m"][name]["reason"]
    assert results["tasks"]["pred"]["ADE"]["protocol"].startswith("pred/")
    assert len(results["model"]["weights_hash"]) == 16
    assert results["data"]["clips"] == 4
    assert "MPJPE" in done.stdout
    assert "| MPJPE" in (tmp_path / "results.md").read_text()
    assert r"\toprule" in (tmp_path / "results.tex").read_text()


@pytest.fixture(scope="module")
def evaluated(model_folder: Path, evaluator_folder: Path, tmp_path_factory) -> Path:
    """Text to motion with an evaluator, two replications, undisturbed."""
    folder = tmp_path_factory.mktemp("evaluated")
    assert main([*map(str, arguments(model_folder, evaluator_folder, folder)), "--controls"]) == 0
    return folder


def arguments(model: Path, evaluator: Path, folder: Path, task: str = "t2m") -> tuple:
    return ("--model", model, "--evaluator", evaluator, *GROUPS, "--task", task, "--reps", 2, "--multimodality", 2,
            "--out", folder, "--cache", folder / "cache")  # fmt: skip


def test_numbers_of_an_evaluator(evaluated: Path) -> None:
    results = read(evaluated)
    fid = results["tasks"]["t2m"]["guo/FID"]
    assert len(fid["values"]) == 2
    assert fid["interval_over_items"][0] < fid["values"][0] < fid["interval_over_items"][1]
    how = "strict/captions=random/crop=coin4/frames=20-199/length=given/matches=label"
    assert fid["protocol"].startswith(f"t2m/{how}/guo-")
    assert results["evaluators"]["guo"]["fingerprint"] in fid["protocol"]
    assert results["tasks"]["t2m"]["guo/MultiModality"]["n"] == 2
    assert results["tasks"]["t2m"]["guo/Diversity"]["value"] is None
    assert "300" in results["tasks"]["t2m"]["guo/Diversity"]["reason"]
    assert results["tasks"]["t2m"]["length_error"]["value"] == 0
    assert list(results["rows"]) == ["real", "shuffled captions", "mean pose"]
    assert results["rows"]["real"]["guo/all/t2m/R01"]["unit"] == "%"
    assert results["checks"]["guo"]["status"] in ("off", "not known")
    assert "Evaluator guo" in (evaluated / "results.md").read_text()


def test_a_killed_run_continues_with_the_same_numbers(
    model_folder: Path, evaluator_folder: Path, evaluated: Path, tmp_path: Path, call
) -> None:
    given = arguments(model_folder, evaluator_folder, tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "test", *map(str, given), "--controls"], cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    passes = tmp_path / "state" / "t2m"
    end = time.monotonic() + 600
    while not (passes / "0000.json").is_file() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(passes.glob("0*.json"))) in (1, 2)
    kept = (passes / "0000.json").stat().st_mtime_ns
    done = call(main, *given, "--controls")
    assert done.returncode == 0, done.stderr
    assert (passes / "0000.json").stat().st_mtime_ns == kept
    assert values(read(tmp_path)) == pytest.approx(values(read(evaluated)), rel=0, abs=0, nan_ok=True)


def test_two_processes_give_the_numbers_of_one(
    model_folder: Path, evaluator_folder: Path, evaluated: Path, tmp_path: Path
) -> None:
    given = arguments(model_folder, evaluator_folder, tmp_path)
    done = command("-m", "test", *given, "--controls", "--devices", 2, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results:") == 1
    assert values(read(tmp_path)) == pytest.approx(values(read(evaluated)), rel=1e-4, abs=1e-6, nan_ok=True)


def test_two_processes_write_the_report_of_one_motionmillion(million_folder: Path, tmp_path: Path) -> None:
    """To the byte: sampled motions of seven texts, in another order and in other batches."""
    reports = []
    for count in (1, 2):
        given = ("--model", million_folder, "data.procedural_size=64", "--limit", 7, "--task", "t2m", "--reps", 2)
        more = ("--evaluator", "none", "--batch-size", 4, "--out", tmp_path / f"of_{count}", "--cache", tmp_path)
        done = command("-m", "test", *given, *more, "--devices", count, timeout=600)
        assert done.returncode == 0, done.stderr
        report = (tmp_path / f"of_{count}" / "results.json").read_text()
        reports.append(report.replace(f"of_{count}", "of"))
    assert reports[0] == reports[1] and read(tmp_path / "of_1")["tasks"]["t2m"]["length_error"]["value"] is not None


def test_more_replications_and_tasks_join_what_is_there(
    model_folder: Path, evaluator_folder: Path, tmp_path: Path, call
) -> None:
    given = ("--model", model_folder, "--evaluator", evaluator_folder, *GROUPS, "--out", tmp_path, "--cache", tmp_path)
    for more in (("--task", "m2t", "--reps", 1), ("--task", "m2t", "--reps", 2), ("--task", "recon", "--reps", 2)):
        assert call(main, *given, *more).returncode == 0
    results = read(tmp_path)
    assert list(results["tasks"]) == ["m2t", "recon"]
    assert len(results["tasks"]["m2t"]["guo/R_precision_top_1"]["values"]) == 2
    assert results["tasks"]["m2t"]["coco-raw/BLEU_1"]["value"] is not None
    assert "built-in scorers" in results["tasks"]["m2t"]["coco-raw/BLEU_1"]["note"]
    assert f"lemmatiser: {lemmatiser_name()}" in results["tasks"]["m2t"]["coco-raw/BLEU_1"]["note"]
    assert results["identity"]["lemmatiser"] == lemmatiser_name()
    assert results["tasks"]["recon"]["guo/FID"]["value"] > 0
    for other in (("--mode", "upstream"), ("--matches", "item"), ("--seed", 1), ("--limit", 33)):
        refused = call(main, *given, "--task", "recon", *other)
        assert refused.returncode == 2, other
        assert "another evaluation" in refused.stderr
        assert "--restart" in refused.stderr
    assert call(main, *given, "--task", "recon", "--mode", "upstream", "--quick", "--restart").returncode == 0
    results = read(tmp_path)
    assert list(results["tasks"]) == ["recon"]
    assert "recon/upstream/" in results["tasks"]["recon"]["guo/FID"]["protocol"]


def test_quick_is_one_replication_with_intervals_over_clips(
    evaluator_folder: Path, tmp_path: Path, call
) -> None:
    done = call(main, "--task", "real", "--quick", "--evaluator", evaluator_folder, *GROUPS, "--cache", tmp_path,
                folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out" / "test").iterdir()
    entry = read(folder)["rows"]["real"]["guo/R_precision_top_3"]
    assert (entry["ci95"], len(entry["values"])) == (None, 1)
    assert entry["interval_over_items"][0] <= entry["value"] <= entry["interval_over_items"][1]
    assert "never compare" in done.stdout


def test_a_wrong_real_row_is_loud(evaluator_folder: Path, tmp_path: Path, call) -> None:
    where = ("--out", tmp_path, "--cache", tmp_path)
    given = ("--task", "real", "--quick", "--evaluator", evaluator_folder, *GROUPS, *where)
    assert "written" in call(main, *given, "--record-expected").stdout
    expected = evaluator_folder / "expected.json"
    try:
        call(main, *given)
        assert read(tmp_path)["checks"]["guo"]["lines"][-1] != "no expected row is known for this data"
        content = json.loads(expected.read_text())
        content["rows"][0]["values"]["Matching_score"] = [99.0, 0.5]
        expected.write_text(json.dumps(content))
        done = call(main, *given)
    finally:
        expected.unlink()
    assert done.returncode == 0
    assert "WARNING" in done.stderr
    assert "expected 99" in done.stderr
    assert read(tmp_path)["checks"]["guo"]["status"] == "off"


def test_tasks_of_latents_with_an_evaluator(
    latent_model_folder: Path, evaluator_folder: Path, tmp_path: Path, call
) -> None:
    done = call(main, "--model", latent_model_folder, "--evaluator", evaluator_folder, *GROUPS, "--quick",
                "--out", tmp_path, "--cache", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = read(tmp_path)["tasks"]
    for task in ("recon", "t2m", "pred", "inbetween"):
        assert results[task]["guo/FID"]["value"] > 0, task
    assert results["pred"]["ended_early"]["value"] == results["t2m"]["length_error"]["value"] == 0
    assert results["m2t"]["guo/R_precision_top_1"]["value"] is not None
    assert set(results["t2t"]) == {"answered", "length_error"}


def test_clips_that_the_model_cannot_serve_are_named_and_left_out(model_folder: Path, tmp_path: Path, call) -> None:
    data = tmp_path / "data"
    _write_clips(data, {"good": "a person walks", "long": "far " * 400, "other": "a person runs"})
    done = call(main, "--model", model_folder, "data.source=joints", f"data.root={data}", "--quick", "--task", "recon",
                "--evaluator", "none", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left out: 1 clips that the model cannot serve: the prompt has" in done.stdout
    assert "reads at most 256 (long)" in done.stdout
    assert read(tmp_path / "out")["data"]["clips"] == 2


def test_a_tokenizer_alone_is_tested_by_reconstruction(call, tokenizer_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", tokenizer_folder, *SMALL, "--out", tmp_path, "--quick", "--evaluator", "none")
    assert done.returncode == 0, done.stderr
    assert list(read(tmp_path)["tasks"]) == ["recon"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.sorce=joints",), "did you mean 'source'"),
        (("training.max_steps=3",), "data.root"),
        (("data.source=joints", "data.root=/no/such/folder"), "no dataset folder"),
        (("--task", "t2m", "--reps", "0"), "at least 1"),
        (("--quick", "--reps", "3"), "one replication"),
        (("--evaluator", "/no/such/evaluator", *SMALL), "no such model folder"),
        (("data.min_frames=190", "data.procedural_size=8"), "no usable clip"),
    ],
)
def test_wrong_usage(call, arguments: tuple[str, ...], message: str, model_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", model_folder, "--out", tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_is_no_evaluator_and_an_evaluator_no_model(
    call, model_folder: Path, evaluator_folder: Path, tmp_path: Path
) -> None:
    done = call(main, "--task", "real", "--evaluator", model_folder, *SMALL, "--out", tmp_path)
    assert (done.returncode, "not an evaluator" in done.stderr) == (2, True)
    done = call(main, "--model", evaluator_folder, *SMALL, "--out", tmp_path)
    assert (done.returncode, "--evaluator" in done.stderr) == (2, True)


def test_an_evaluator_of_other_motion_is_refused(call, model_folder: Path, tmp_path: Path) -> None:
    from mld.checkpoint import save_model
    from tests.models.evaluating import tiny_guo

    folder = save_model(tiny_guo("kit"), tmp_path / "kit", {})
    done = call(main, "--model", model_folder, "--evaluator", folder, *SMALL, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "reads 'kit' at 12.5 fps" in done.stderr


def test_help_tells_of_every_task(call) -> None:
    said = call(main, "--help").stdout
    for name in (*tasks.NAMES, "real"):
        assert f"\n{name} " in said, name


def test_a_tokenizer_cannot_do_text(call, tokenizer_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", tokenizer_folder, "--task", "t2m", "--out", tmp_path)
    assert done.returncode == 2
    assert "it does recon" in done.stderr


def _write_clips(folder: Path, captions: dict[str, str]) -> None:
    """A data set in the joints layout: one clip of 60 frames, all in the test split, for each caption."""
    (folder / "splits").mkdir(parents=True)
    rows = [{"id": name, "trial": name, "start": 0, "end": 60, "captions": [text]} for name, text in captions.items()]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(folder / "trials.npz", **{name: walker(60).numpy() for name in captions})
    (folder / "splits" / "test.txt").write_text("\n".join(captions) + "\n")
