"""The bridge to nlg-metricverse, with stand-ins for its interpreter, and the command that makes the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commands.common import run
from mld.errors import DataError
from mld.metrics.captions import CaptionScores, bridge, metricverse
from prepare import nlg

SAID, WRITTEN = ["a man walks", "a man sits"], [["a man walks"] * 3, ["a person sits"] * 3]

FAKE_PACKAGE = """
from nlgmetricverse.visualization.n_gram_distance import n_gram_distance_visualization
class NLGMetricverse:
    def __init__(self, metrics): self.name, self.settings = metrics[0]
    def __call__(self, predictions, references):
        print("noise on stdout")
        if self.name == "meteor": raise OSError("wordnet is not here\\nsecond line")
        share = sum(p in r for p, r in zip(predictions, references)) / len(predictions)
        if self.name == "bleu":
            return {f"bleu_{self.settings['max_order']}": {"score": share / self.settings["max_order"]}}
        return {self.name: {"rougeL": share, "score": share}}
def load_metric(name, resulting_name=None, compute_kwargs=None): return name, compute_kwargs
"""


def fake_python(tmp_path: Path, body: str) -> Path:
    """An executable that runs `body` in place of the bridge."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def package(tmp_path) -> Path:
    """An interpreter that has a stand-in of the package."""
    site = tmp_path / "site"
    (site / "nlgmetricverse").mkdir(parents=True)
    (site / "nlgmetricverse" / "__init__.py").write_text(FAKE_PACKAGE)
    (site / "nlgmetricverse" / "visualization").mkdir()
    (site / "nlgmetricverse" / "visualization" / "n_gram_distance.py").write_text("raise OSError('no network')")
    (site / "nlg_metricverse-0.9.9.dist-info").mkdir()
    (site / "nlg_metricverse-0.9.9.dist-info" / "METADATA").write_text("Name: nlg-metricverse\nVersion: 0.9.9\n")
    return fake_python(tmp_path, f'PYTHONPATH="{site}" exec "{sys.executable}" "$@"')


def test_the_real_bridge_runs_every_metric_by_itself(package) -> None:
    answer = metricverse.call(package, SAID, WRITTEN)
    assert answer["version"] == "0.9.9"
    assert answer["scores"] == {
        "BLEU_1": 0.5, "BLEU_2": 0.25, "BLEU_3": pytest.approx(1 / 6), "BLEU_4": 0.125, "ROUGE_L": 0.5, "CIDEr": 0.5
    }  # fmt: skip
    assert answer["errors"] == {"METEOR": "OSError: wordnet is not here"}


def test_scores_say_where_they_come_from(package) -> None:
    metric = CaptionScores(("metricverse-raw", "coco-raw"), java=False, python=package)
    metric.update(SAID, WRITTEN)
    found = metric.scores()
    assert (found["BLEU_2"].value, found["BLEU_2"].note) == (25.0, "nlg-metricverse 0.9.9")
    assert "wordnet" in found["METEOR"].reason
    assert found["coco-raw/BLEU_2"].note == ""
    assert metric.backend == "nlg-metricverse 0.9.9"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'ModuleNotFoundError: no nlgmetricverse' >&2; exit 1", "no nlgmetricverse"),
        ("echo nothing useful", "no answer"),
        ("echo '{\"version\": 1}'", "no answer"),
        ("exit 3", "exit code 3"),
        ("sleep 5", "timed out"),
    ],
)
def test_a_broken_backend_leaves_the_built_in_numbers(tmp_path, monkeypatch, body: str, reason: str) -> None:
    python = fake_python(tmp_path, body)
    with pytest.raises(DataError, match=reason):
        metricverse.call(python, SAID, WRITTEN, timeout=0.5)
    if "sleep" in body:
        return
    metric, built_in = CaptionScores(python=python), CaptionScores(python=None)
    for each in (metric, built_in):
        each.update(SAID, WRITTEN)
    assert metric.scores()["BLEU_1"] == built_in.scores()["BLEU_1"]
    assert reason in metric.backend


def test_the_environment_is_found_where_it_was_made(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLD_NLG_HOME", str(tmp_path))
    assert metricverse.find() is None
    assert "prepare.nlg" in CaptionScores().backend
    python = metricverse.interpreter(tmp_path)
    python.parent.mkdir()
    python.touch()
    assert metricverse.find() == python


def test_the_command_says_in_one_line_what_failed(tmp_path, capsys) -> None:
    folder = tmp_path / "env"
    failing = fake_python(tmp_path, "echo 'ERROR: no network' >&2; exit 1")
    for python, reason in ((failing, "no network"), (tmp_path / "nothing", "No such file")):
        assert run(nlg.main, ["--folder", str(folder), "--python", str(python)]) == 2
        message = capsys.readouterr().err.strip()
        assert reason in message
        assert len(message.splitlines()) == 1
        assert not folder.exists()


def test_the_command_installs_the_pins_and_tries_them(tmp_path, package, capsys) -> None:
    """The stand-in makes an environment whose interpreter notes what pip is asked for."""
    folder = tmp_path / "env"
    inner = f'if [ "$2" = pip ]; then echo "$@" > "{tmp_path}/asked"; else exec "{package}" "$@"; fi'
    body = (
        f"mkdir -p \"$4/bin\" && printf '%s\\n' '#!/bin/sh' '{inner}' > \"$4/bin/python\" && chmod +x \"$4/bin/python\""
    )
    outer = tmp_path / "outer"
    outer.mkdir()
    assert run(nlg.main, ["--folder", str(folder), "--python", str(fake_python(outer, body))]) == 0
    printed = capsys.readouterr().out
    assert "BLEU_4" in printed
    assert "METEOR does not: OSError" in printed
    asked = (tmp_path / "asked").read_text()
    assert all(pin in asked for pin in (metricverse.PACKAGE, *metricverse.PINS))


def test_the_bridge_needs_only_the_standard_library() -> None:
    assert bridge.wanted(None).keys() == {"BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "ROUGE_L", "METEOR", "CIDEr"}
    alone = [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({bridge.__file__!r})['wanted'](None)"]
    done = subprocess.run(alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
