"""`demo` of a tiny MotionMillion, run as users run it: lengths, settings of sampling, lines that are bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands import demo
from mld.checkpoint import save_model
from mld.models.text_encoders.opening import open_text_encoder
from mld.motion.motion import Motion
from tests.models.text_encoding import write_t5
from tests.models.tiny_fsq_ae import tiny_fsq_ae
from tests.models.tiny_million import tiny_million
from tests.walking import walker


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    text = open_text_encoder(write_t5(tmp_path_factory.mktemp("text")))
    made = tiny_million(text=text, tokenizer=tiny_fsq_ae(codes=512), positions=100)
    return save_model(made, tmp_path_factory.mktemp("model") / "million", {})


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "index.json").read_text(encoding="utf-8"))["results"]


def test_lines_of_a_file_have_lengths_of_their_own_and_bad_ones_are_skipped(call, model: Path, tmp_path: Path) -> None:
    lines = ["a person walks#31", "a person walks", "a person walks#0", "a person sits#1.5s", "a person runs#82", "#",
             " ".join(["walk"] * 40) + "#9", "a person jumps#2"]  # fmt: skip
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    done = call(demo.main, "--model", model, "--example", tmp_path / "lines.txt", "--out", tmp_path / "out",
                "--format", "npy", "--sampling", "ends=false", "max_length=20")  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    found = results(tmp_path / "out")
    frames = {entry["line"]: entry["frames"] for entry in found if "error" not in entry}
    assert frames == {1: 31, 2: 40, 7: 9, 8: 2}
    errors = {entry["line"]: entry["error"] for entry in found if "error" in entry}
    assert errors[3].startswith("a length of 0 leaves no frame") and "82 frames are wanted" in errors[5]
    assert "45 frames are wanted, this model makes at most about 40 at once" in errors[4]
    (cut,) = (entry["notes"] for entry in found if entry["line"] == 7)
    assert len(cut) == 1 and cut[0].endswith("tokens, of which this model reads 12")


def test_a_motion_goes_on_to_the_length_that_is_wanted(call, model: Path, tmp_path: Path) -> None:
    Motion(walker(24), 30.0).save(tmp_path / "walk.bvh")
    lines = ["walk.bvh#48f", "then sits down#walk.bvh#1.5s", "walk.bvh", "walk.bvh#24f"]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    done = call(demo.main, "--model", model, "--task", "pred", "--example", tmp_path / "lines.txt", "--out",
                tmp_path / "out", "--format", "npy", "--sampling", "least_codes=9")  # fmt: skip
    assert done.returncode == 1, done.stderr
    frames = {entry["line"]: entry.get("frames", entry.get("error")) for entry in results(tmp_path / "out")}
    assert (frames[1], frames[2]) == (48, 45) and frames[3] >= 24 + 18
    assert "are given; the length is that of the whole motion" in frames[4]


def test_settings_of_sampling(call, model: Path, tmp_path: Path) -> None:
    def made(*settings: str, seed: int = 0) -> np.ndarray:
        out = tmp_path / "out"
        done = call(demo.main, "--model", model, "--text", "a person walks", "--seed", seed, "--out", out, "--format",
                    "npy", *(("--sampling", *settings) if settings else ()))  # fmt: skip
        assert done.returncode == 0, done.stderr
        (entry,) = results(out)
        return np.load(out / entry["files"][-1])

    fixed = ("ends=false", "max_length=8")
    assert np.array_equal(made(*fixed, "do_sample=false"), made(*fixed, "do_sample=false", seed=1))
    assert np.array_equal(made(*fixed, "do_sample=false"), made(*fixed, "top_k=1", seed=1))
    assert np.array_equal(made(*fixed, "do_sample=false"), made(*fixed, "top_p=0.0001", seed=2))
    assert not np.array_equal(made(*fixed, "temperature=2.0"), made(*fixed, "temperature=2.0", seed=1))
    assert len(made("least_codes=11")) >= 22 and len(made(*fixed)) == 16


@pytest.mark.parametrize("options, said", [
    (("--sampling", "temprature=2"), "no setting 'temprature' of sampling; did you mean 'temperature'?"),
    (("--sampling", "top_p=2"), "top_p is 2.0, expected a number above 0 and up to 1"),
    (("--sampling", "top_k"), "--sampling top_k: write KEY=VALUE"),
    (("--sampling", "top_k=[1"), "--sampling top_k=[1: write KEY=VALUE"),
    (("--sampling", "top_k=many"), "top_k: a whole number is needed, not 'many'"),
    (("--sampling", "max_length=99"), "motion_generation.max_length 99 and the end need 112"),
    (("--task", "inbetween"), "this model does not do 'inbetween'; it does"),
    (("--task", "m2t"), "this model does not do 'm2t'; it does"),
])  # fmt: skip
def test_what_cannot_be_is_said_in_a_line(options: tuple, said: str, call, model: Path, tmp_path: Path) -> None:
    done = call(demo.main, "--model", model, "--text", "a person walks", "--out", tmp_path / "out", *options)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and said in last and "Traceback" not in done.stderr, last
