"""ViMoGen that foretells clean frames: its loss, the velocity that follows, where a sample arrives, its settings."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Example, Reference, Text
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.convert import published_state
from mld.models.families.vimogen.sampling import FromClean
from mld.models.families.vimogen.training import Draws, flow_losses, table_of
from mld.models.heads.flow import FLOOR, SEEN, noised, sigmas, solve, target
from mld.models.noise import RowNoise
from tests.models.tiny_vimogen import COLUMNS, rows, tiny_vimogen

CLEAN = {"prediction": "clean", "training_shift": 2.0, "strength": 1.0}


def batch_of(model):
    clips = [Example((Text("a person walks"),), (Clip(features=rows(30)),), 30),
             Example((Reference(rows(24)),), (Clip(features=rows(24)),), 24)]  # fmt: skip
    return model.rows(clips)


def test_the_loss_is_of_clean_frames_and_weighs_by_level() -> None:
    model = tiny_vimogen(**CLEAN)
    batch = batch_of(model)
    draws = Draws.at(torch.tensor([100, 900]), torch.randn(batch.clean.shape), model.config)
    wide = torch.ones(276)
    assert float(flow_losses(batch.clean, batch, draws, wide, "clean")["flow_loss"]) == 0
    assert float(flow_losses(target(batch.clean, draws.noise), batch, draws, wide)["flow_loss"]) == 0
    terms = flow_losses(batch.clean + 1, batch, draws, wide, "clean")
    assert float(terms["monitor/loss_text"]) == pytest.approx(float(draws.weight[0]), rel=1e-4)
    assert float(terms["monitor/loss_reference"]) == pytest.approx(float(draws.weight[1]), rel=1e-4)
    with torch.no_grad():
        got = model.transformer(noised(batch.clean, draws.sigma, draws.noise), draws.time, batch.texts,
                                batch.references, batch.mask, batch.reference_mask, batch.by_text)  # fmt: skip
        wanted = flow_losses(got, batch, draws, model.column_weights, "clean")["flow_loss"]
        torch.testing.assert_close(model.step(batch, draws)["flow_loss"], wanted)


def test_columns_weigh_by_role_and_by_the_settings_of_the_run() -> None:
    model = tiny_vimogen(column_weight=4.0, role_weights={"velocities": 0.25, "rotations": 0.0}, **CLEAN)
    wanted = torch.ones(276)
    for role, weight in (("root", 4.0), ("velocities", 0.25), ("rotations", 0.0)):
        wanted[COLUMNS.columns(role)] = weight
    torch.testing.assert_close(model.column_weights, wanted)
    batch = batch_of(model)
    draws = Draws.at(torch.tensor([100, 900]), torch.randn(batch.clean.shape), model.config)
    off = batch.clean.clone()
    off[..., COLUMNS.columns("velocities")] += 1
    share = 0.25 * len(COLUMNS.columns("velocities")) / 276  # both rows count all columns of the frames they have
    lengths = batch.mask.sum(1)
    level = float((draws.weight * lengths).sum() / lengths.sum())
    batch = batch._replace(counted=torch.ones_like(batch.counted))
    found = flow_losses(off, batch, draws, model.column_weights, "clean")
    assert float(found["flow_loss"]) == pytest.approx(share * level, rel=1e-4)
    model.adopt(dataclasses.replace(model.config, column_weight=2.0, role_weights={}))  # a run that goes on otherwise
    assert set(model.column_weights.tolist()) == {1.0, 2.0}
    with pytest.raises(ConfigError, match="no columns of role 'speed'"):
        tiny_vimogen(role_weights={"speed": 1.0})


def test_steps_between_frames_count_in_columns_of_places() -> None:
    model = tiny_vimogen(step_weight=3.0, weighting="balanced", **CLEAN)
    batch = batch_of(model)
    draws = Draws.at(torch.tensor([100, 900]), torch.randn(batch.clean.shape), model.config)
    torch.testing.assert_close(draws.weight, table_of(2.0, "balanced")[1][[100, 900]])
    batch, ones = batch._replace(counted=torch.ones_like(batch.counted)), torch.ones(276)
    steps = 3.0 * model.of_places

    def loss(off: torch.Tensor, steps: torch.Tensor | None) -> float:
        return float(flow_losses(batch.clean + off, batch, draws, ones, "clean", steps)["monitor/loss_text"])

    even, jagged = torch.zeros_like(batch.clean), torch.zeros_like(batch.clean)
    places = COLUMNS.columns("positions")
    even[..., places] = 1.0
    jagged[:, ::2, places], jagged[:, 1::2, places] = 1.0, -1.0
    share, level = len(places) / 276, float(draws.weight[0])
    assert loss(even, None) == loss(jagged, None) == pytest.approx(share * level, rel=1e-4)
    assert loss(even, steps) == pytest.approx(share * level, rel=1e-4)  # all frames are off alike
    assert loss(jagged, steps) == pytest.approx(share * level * (1 + 3 * 4 * 29 / 30), rel=1e-4)
    other = torch.zeros_like(batch.clean)
    other[:, ::2, COLUMNS.columns("velocities")] = 1.0
    assert loss(other, steps) == loss(other, None)
    padded = torch.zeros_like(batch.clean)
    padded[1, 24:] = 1.0  # behind the end of the shorter row
    found = flow_losses(batch.clean + padded, batch, draws, ones, "clean", steps)
    assert float(found["flow_loss"]) == 0
    with torch.no_grad():
        got = model.transformer(noised(batch.clean, draws.sigma, draws.noise), draws.time, batch.texts,
                                batch.references, batch.mask, batch.reference_mask, batch.by_text)  # fmt: skip
        wanted = flow_losses(got, batch, draws, model.column_weights, "clean", steps)["flow_loss"]
        torch.testing.assert_close(model.step(batch, draws)["flow_loss"], wanted)


def test_levels_and_weights_of_training() -> None:
    levels, weights = table_of(2.0, "velocity")
    torch.testing.assert_close(levels, sigmas(1000, 2.0)[:-1])
    assert float(weights.mean()) == pytest.approx(1) and bool((weights.diff() >= 0).all())
    low = levels < FLOOR
    assert float(weights[low].std()) < 1e-6 * float(weights.max())
    ratio = weights[0] / weights[500]
    assert float(ratio) == pytest.approx(float(levels[500] / levels[0]) ** 2, rel=1e-4)
    _, balanced = table_of(2.0, "balanced")
    assert float(balanced.mean()) == pytest.approx(1) and bool((balanced.diff() >= 0).all())
    place = int((levels - 0.8).abs().argmin())  # data over noise is a quarter there, nothing at pure noise
    assert float(balanced[place] / balanced[0]) == pytest.approx((0.25 + SEEN) / SEEN, rel=1e-2)
    model = tiny_vimogen(**CLEAN)
    draws = Draws.at(torch.tensor([0, 500]), torch.zeros(2, 4, 276), model.config)
    torch.testing.assert_close(draws.sigma, levels[[0, 500]])
    assert model.config.shift == 5.0  # of sampling


@pytest.mark.parametrize("sampler", ["euler", "heun", "ab2", "dpm++"])
def test_a_sample_arrives_at_what_is_foretold(sampler: str) -> None:
    clean = torch.randn(2, 9, 12)
    found = solve(FromClean(lambda state, t: clean), torch.randn(2, 9, 12), sigmas(6, 5.0), sampler)
    torch.testing.assert_close(found, clean, atol=1e-5, rtol=1e-5)


def test_both_ways_of_guidance_lead_to_the_same_frames() -> None:
    prompts = [(Text("a person walks"),), (Reference(rows(20)),)]
    found = []
    for exact in (True, False):
        model = tiny_vimogen(exact=exact, **CLEAN)
        asked = [model.prompt(segments, "motion", 20) for segments in prompts]
        with torch.no_grad():
            made = model.denoise(asked).sample(torch.ones(2, 20, dtype=torch.bool), RowNoise([1, 2]))
        found.append(made)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_guidance_of_high_levels_alone_is_asked_for_in_the_settings() -> None:
    """From level 1 on but for no step is the text alone; from 0 on it is what all steps under guidance give."""

    def made(**settings) -> torch.Tensor:
        model = tiny_vimogen(**{**CLEAN, "shift": 1.0, "num_inference_steps": "4", **settings})
        asked = [model.prompt((Text("a person walks"),), "motion", 20)]
        with torch.no_grad():
            return model.denoise(asked).sample(torch.ones(1, 20, dtype=torch.bool), RowNoise([1]))

    full, half = made(guidance_scale=4.0), made(guidance_scale=4.0, guidance_from=0.6)
    assert torch.equal(made(guidance_scale=4.0, guidance_from=0.2), full)  # levels 1, 0.75, 0.5, 0.25
    assert not torch.allclose(half, full) and not torch.allclose(half, made(guidance_scale=1.0))
    torch.testing.assert_close(made(guidance_scale=1.0, guidance_from=0.6), made(guidance_scale=1.0))


def test_places_and_steps_of_an_answer_agree_where_asked() -> None:
    def off(reconcile: bool) -> float:
        model = tiny_vimogen(reconcile=reconcile, **CLEAN)
        answer = Pipeline(model).run([Request((Text("a person walks"),), "motion", 30, 0)])[0]
        places, steps = (COLUMNS.block(answer.features, name) for name in ("joint_positions", "joint_velocities"))
        return float((places.diff(dim=0) - steps[:-1]).abs().max())

    assert off(True) < 1e-4 < 1e-2 < off(False)


def test_what_is_foretold_belongs_to_the_weights() -> None:
    model = tiny_vimogen(**CLEAN)
    model.adopt(ViMoGenConfig(prediction="velocity", strength=0.5))
    assert model.config.prediction == "clean" and model.config.strength == 0.5
    with pytest.raises(CheckpointError, match="published files foretell velocities"):
        published_state(model)


@pytest.mark.parametrize("setting", ["pool_texts", "text_order"])
def test_what_published_files_cannot_hold_is_not_exported(setting: str) -> None:
    with pytest.raises(CheckpointError, match=f"{setting}: published files have no such weights"):
        published_state(tiny_vimogen(**{setting: True}))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"prediction": "cleen"}, "prediction is 'cleen'"), ({"training_shift": 0.0}, "training_shift is 0.0"),
     ({"guidance_from": 2.0}, "guidance_from is 2.0"),
     ({"weighting": "even"}, "weighting is 'even'"), ({"weighting": "balanced"}, "set prediction: clean"),
     ({"step_weight": -1.0}, "step_weight is -1.0"),
     ({"strength": 0.0}, "strength is 0.0"), ({"shift": 0.0}, "shift is 0.0"),
     ({"role_weights": {"velocities": -1.0}}, "role_weights.velocities is -1.0")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(ViMoGenConfig(), **setting)


def test_texts_and_times_begin_as_strong_as_told() -> None:
    for std in (0.02, 0.08):
        network = tiny_vimogen(start_std=std, width=64).transformer
        for layer in (*network.text_embed[::2], *network.time.embed[::2]):
            assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.1)
