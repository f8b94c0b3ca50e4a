"""The task `stream` as users run it, with a tiny streaming model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import demo, models, test
from mld.checkpoint import save_model
from mld.engine.pipeline import Pipeline
from mld.errors import RequestError
from mld.evaluation import evaluators
from mld.files import write_tensors
from mld.models import quantization, registry, rounded_products
from mld.models.heads import diffusion_solvers, flow_solvers
from mld.serve.models import Models
from tests.models.tiny_streamer import tiny_streamer

DATA = ("data.source=procedural", "data.procedural_size=64", "data.representation=motion272", "data.max_frames=300")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed", "tests.models.tiny_streamer:HashedText")
    return save_model(tiny_streamer(), tmp_path / "model", {})


def test_demo(call, model: Path, tmp_path: Path) -> None:
    """Words change at the token that is nearest, the end is where it is wanted; a bad line is told and left out."""
    line = "0s a person walks | 1s they sit down | 2.5s"
    options = ("--model", model, "--task", "stream", "--format", "npy", "--out", tmp_path / "out")
    done = call(demo.main, *options, "--text", line, "--text", "1s too late")
    assert done.returncode == 1 and "the first text begins at 0s" in done.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    made, bad = index["results"]
    assert made["prompt"] == "a person walks | they sit down" and made["frames"] == 75 and "error" in bad
    (file,) = (tmp_path / "out").glob("*.npy")
    assert np.isfinite(np.load(file)).all() and len(np.load(file)) == 75


def test_test_says_which_evaluator_is_missing(call, model: Path, tmp_path: Path, monkeypatch) -> None:
    bundled = {name: folder for name, folder in evaluators.bundled().items() if name != "tmr_272"}
    monkeypatch.setattr(evaluators, "bundled", lambda: bundled)
    options = ("--model", model, "--task", "stream", "--quick", "--limit", 3, "--out", tmp_path / "out", *DATA)
    done = call(test.main, *options)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "Not computed" in line]
    assert "needs an evaluator of 'motion272' at 30 fps, none is bundled; train one" in line
    found = json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]["stream"]
    assert all(found[name]["value"] is not None for name in ("peak_jerk", "area_under_jerk", "skating", "jerk_real"))
    assert found["transition/FID"]["value"] is None


def test_demo_with_rounded_weights_and_few_steps(
    call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rounded is told; the motion is near the exact one, and another one by another sampler."""
    monkeypatch.setattr(quantization, "LEAST", 16)
    made, ways = {}, {"exact": (), "int8": ("--weights", "int8"), "few": ("--sampler", "dpm++", "--steps", 4)}
    for name, options in ways.items():
        done = call(demo.main, "--model", model, "--task", "stream", "--format", "npy", "--out", tmp_path / name,
                    "--text", "0s a person walks | 0.4s", *options)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("int8 weights: " in done.stderr) == (name == "int8")
        made[name] = np.load(next((tmp_path / name).glob("*.npy")))
    near, far = (np.abs(made[name] - made["exact"]).max() for name in ("int8", "few"))
    levels = next(filter(None, map(rounded_products.levels_of, rounded_products.MAKERS)), rounded_products.STEPS)
    assert 0 < near < 0.5 * far * rounded_products.STEPS / levels  # processors without VNNI have half of the steps


@pytest.mark.parametrize(
    "options, told",
    [
        (("--steps", "many"), "num_inference_steps 'many': 'many' is not a number from 1 to 50"),
        (("--steps", "51"), "'51' is not a number from 1 to 50"),
    ],
)
def test_steps_that_cannot_be(call, model: Path, tmp_path: Path, options, told: str) -> None:
    line = ("--text", "0s a person walks | 1s")
    done = call(demo.main, "--model", model, "--task", "stream", "--out", tmp_path / "out", *line, *options)
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()[-1]) < 300


def test_results_say_how_the_model_was_opened(
    call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of other weights, steps or samplers are never joined."""
    monkeypatch.setattr(quantization, "LEAST", 16)
    options = ("--model", model, "--task", "stream", "--quick", "--limit", 3, "--out", tmp_path / "out", *DATA)
    quick = ("--weights", "float16", "--sampler", "ddim", "--steps", 3)
    assert call(test.main, *options, *quick).returncode == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"]["opened_with"] == "weights float16, sampler ddim, num_inference_steps 3"
    assert found["identity"]["model"].endswith("/" + found["model"]["opened_with"])
    again = call(test.main, *options)
    assert again.returncode == 2, again.stdout


def test_the_names_are_those_of_the_models() -> None:
    """The commands list them without opening torch."""
    assert models.WEIGHTS == quantization.WEIGHTS
    assert list({**diffusion_solvers.SOLVERS, **flow_solvers.SOLVERS}) == list(models.SAMPLERS)


def test_served_with_rounded_weights(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "LEAST", 16)
    offered = Models([str(model)], weights="int8", sampling={"sampler": "ddim", "num_inference_steps": "3"})
    pipeline = offered.pipeline(offered.names[0])
    assert pipeline.rounding.layers > 3
    assert (pipeline.model.head.config.sampler, pipeline.model.head.steps) == ("ddim", 3)


def test_settings_of_models_that_have_them(call, model: Path, model_folder: Path, tmp_path: Path) -> None:
    """Of several models those with a diffusion head take them; one without is told, and what no model has."""
    done = call(demo.main, "--model", model_folder, "--sampler", "ddim", "--text", "a person walks", "--out", tmp_path)
    assert done.returncode == 2 and "(--sampler of commands) is for models with a diffusion head" in done.stderr
    offered = Models([str(model), str(model_folder)], kept=2, sampling={"num_inference_steps": "3"})
    opened = [offered.pipeline(name).model for name in offered.names]
    assert opened[0].head.steps == 3 and type(opened[1]).__name__ == "MotionGPT"
    offered = Models([str(model_folder)], sampling={"num_inference_steps": "3"})
    with pytest.raises(RequestError, match=r"--steps of commands.*leave it out"):
        offered.pipeline(offered.names[0])


def test_a_device_without_numbers(call, model: Path) -> None:
    done = call(demo.main, "--model", model, "--device", "meta", "--text", "a person walks")
    assert done.returncode == 2 and "--device meta" in done.stderr


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk(model: Path, kind: torch.dtype) -> None:
    """Streamed in float32, near the model that was rounded."""
    file = model / "model.safetensors"
    exact = Pipeline.load(model)
    write_tensors(file, {key: value.to(kind) if value.is_floating_point() else value
                         for key, value in load_file(file).items()})  # fmt: skip
    made = []
    for pipeline in (exact, Pipeline.load(model)):
        with pipeline.stream("a person walks", seed=1) as stream:
            made.append(next(stream).joints)
    assert made[1].dtype == torch.float32 and float((made[1] - made[0]).abs().max()) < 0.2
