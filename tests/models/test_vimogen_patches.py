"""ViMoGen with several frames to a position, and with a head that tells how long the motion of a text is."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import yaml

from mld.checkpoint import load_model, save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import CheckpointError, ConfigError, RequestError
from mld.example import Clip, Example, Reference, Text
from mld.models import registry
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.convert import losses, published_state
from mld.models.families.vimogen.patches import patched, patched_mask, unpatched
from mld.models.families.vimogen.training import Draws
from mld.models.heads.flow import noised
from mld.models.noise import RowNoise
from mld.training.averaging import changing
from tests.models.tiny_vimogen import rows, tiny_vimogen

WALK = Text("a person walks")
PATCH = 4


def by_hand(frames: torch.Tensor, patch: int) -> torch.Tensor:
    """Frames (T, C) of one row as (P, patch * C), one position after the other."""
    found = torch.zeros(-(-len(frames) // patch), patch * frames.shape[1])
    for place, frame in enumerate(frames):
        start = place % patch * frames.shape[1]
        found[place // patch, start : start + frames.shape[1]] = frame
    return found


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("frames", [1, 4, 11, 12])
def test_patches_and_back(patch: int, frames: int) -> None:
    torch.manual_seed(0)
    mask = torch.arange(frames) < torch.tensor([frames, max(frames - 3, 1)])[:, None]
    found = torch.randn(2, frames, 5)
    got, seen = patched(found, patch, mask), patched_mask(mask, patch)
    for row, real, patches, there in zip(found, mask, got, seen):
        want = by_hand(row if patch == 1 else row[real], patch)
        torch.testing.assert_close(patches[: len(want)], want)
        assert int(there.sum()) == -(-int(real.sum()) // patch) and (patch == 1 or not patches[len(want) :].any())
    back = unpatched(got, patch, frames)
    assert back.shape == found.shape
    torch.testing.assert_close(back[mask], found[mask])
    assert patch == 1 or not back[~mask].any()


def example(*prompt, frames: int = 30) -> Example:
    return Example(prompt, (Clip(features=rows(frames)),), frames)


def draws_of(model, batch) -> Draws:
    noise = torch.randn(batch.clean.shape, generator=torch.Generator().manual_seed(4))
    return Draws.at(torch.arange(len(batch.clean)) * 200 + 100, noise, model.config)


@pytest.mark.parametrize("prediction", ["velocity", "clean"])
def test_the_loss_is_that_of_rows_alone_put_into_patches_by_hand(prediction: str) -> None:
    """Lengths that are no multiple of the patch, texts and a reference in one batch."""
    model = tiny_vimogen(patch=PATCH, prediction=prediction)
    asked = [example(WALK, frames=30), example(Reference(rows(21)), frames=21), example(Text("hop"), frames=14)]
    batch = model.rows(asked)
    draws = draws_of(model, batch)
    total = count = 0.0
    for place, one in enumerate(asked):
        alone, n = model.rows([one]), one.num_frames
        state = noised(batch.clean[place : place + 1], draws.sigma[place : place + 1], draws.noise[place : place + 1])
        led = None if place != 1 else by_hand(alone.references[0], PATCH)[None]
        with torch.no_grad():
            got = model.transformer(
                by_hand(state[0, :n], PATCH)[None], draws.time[place : place + 1], alone.texts, led,
                by_text=alone.by_text,
            )[0].reshape(-1, 276)[:n]  # fmt: skip
        wanted = alone.clean[0] if prediction == "clean" else draws.noise[place, :n] - alone.clean[0]
        errors = (got - wanted).square() * model.column_weights * draws.weight[place]
        total, count = total + errors.sum(), count + errors.numel()
    torch.testing.assert_close(model.step(batch, draws)["flow_loss"], total / count, atol=1e-5, rtol=1e-4)


def test_training_learns_and_every_weight_has_part() -> None:
    model = tiny_vimogen(patch=PATCH, length_head=True, text_dropout=0.0).train()
    batch = [example(WALK, frames=30), example(Reference(rows(21)), frames=21)]
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=2e-3)
    torch.manual_seed(0)
    found = []
    for _ in range(40):
        optimizer.zero_grad()
        terms = model.loss(batch)
        (terms["flow_loss"] + terms["length_loss"]).backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
        found.append(float(terms["flow_loss"].detach()))
    assert sum(found[-10:]) < 0.9 * sum(found[:10])
    assert any(name.startswith("lengths.") for name in changing(model)), "averaged, too"


def sampled(model, prompts, counts, seeds=None) -> list[torch.Tensor]:
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    noise = RowNoise(seeds or list(range(len(counts))))
    with torch.no_grad():
        made = model.denoise(prompts).sample(mask, noise)
    return [row[:count] for row, count in zip(made, counts)]


@pytest.mark.parametrize("settings", [
    {}, {"prediction": "clean", "strength": 1.0}, {"smooth": False, "sampler": "heun"}, {"reconcile": True},
])  # fmt: skip
def test_answers_do_not_depend_on_the_batch(settings: dict) -> None:
    """Rows of other lengths, by text, by reference and from given frames."""
    model = tiny_vimogen(patch=PATCH, **settings)
    head = Clip(tokens=model.tokenize([Clip(features=rows(10))])[0])
    prompts = [
        model.prompt((WALK,), "motion", 22), model.prompt((Reference(rows(17)),), "motion"),
        model.prompt((WALK, head), "motion", 33), model.prompt((Text("hop"),), "motion", 9),
    ]  # fmt: skip
    counts = [22, 17, 33, 9]
    for place, (one, count) in enumerate(zip(sampled(model, prompts, counts), counts)):
        (alone,) = sampled(model, [prompts[place]], [count], [place])
        torch.testing.assert_close(alone, one, atol=2e-4, rtol=1e-3)


def test_both_ways_of_guidance_lead_to_the_same_frames() -> None:
    found = []
    for exact in (True, False):
        model = tiny_vimogen(patch=PATCH, exact=exact, guidance_scale=3.0)
        prompts = [model.prompt((WALK,), "motion", 22), model.prompt((Reference(rows(25)),), "motion", 18)]
        found.append(torch.cat(sampled(model, prompts, [22, 18])))
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("given", [1, 6, 8, 11])
def test_given_frames_stay_wherever_in_a_patch_they_end(given: int, smooth: bool) -> None:
    """To the bit, at both ends; the frames between them are made, those of the same patch as well."""
    model = tiny_vimogen(patch=PATCH, smooth=smooth)
    head, tail = (model.tokenize([Clip(features=rows(30)[part])])[0] for part in (slice(0, given), slice(21, 30)))
    prompt = model.prompt((WALK, Clip(tokens=head), Clip(tokens=tail, start=21)), "motion", 30)
    (made,) = sampled(model, [prompt], [30], [5])
    assert torch.equal(made[:given], head) and torch.equal(made[21:], tail)
    (other,) = sampled(model, [prompt], [30], [6])
    assert ((made - other)[given:21].abs().amax(1) > 1e-3).all()


def test_motions_of_any_length_come_out_of_the_pipeline() -> None:
    pipeline = Pipeline(tiny_vimogen(patch=PATCH, positions=50, default_frames=41))
    for frames in (13, 16, 50):
        assert pipeline.run([Request((WALK,), "motion", frames)])[0].motion.num_frames == frames
    assert pipeline.run([Request((WALK,), "motion")])[0].motion.num_frames == 41
    assert pipeline.model.transformer.config.positions == 13
    with pytest.raises(RequestError, match="makes at most 50 at once"):
        pipeline.model.prompt((WALK,), "motion", 51)


def test_what_goes_on_from_a_motion_takes_as_long_as_the_words_say_beside_it() -> None:
    """And of a motion that is longer than what can be made, the end is read."""
    pipeline = Pipeline(tiny_vimogen(patch=PATCH, positions=150, default_frames=41))
    walk = Clip(features=rows(60))
    assert pipeline.run([Request((WALK, walk), "motion")])[0].motion.num_frames == 60 + 41
    assert pipeline.run([Request((WALK, Clip(features=walk.features[:30])), "motion")])[0].motion.num_frames == 71
    longer = Clip(features=torch.cat([walk.features] * 4))
    answer = pipeline.run([Request((WALK, longer), "motion")])[0]
    assert answer.motion.num_frames > 240 and any("nearest" in note or "last" in note for note in answer.notes)


def test_a_longer_reference_is_read_up_to_what_is_wanted() -> None:
    model = tiny_vimogen(patch=PATCH)
    found = [
        sampled(model, [model.prompt((Reference(rows(40)[:length]),), "motion", 18)], [18])[0] for length in (40, 18)
    ]
    torch.testing.assert_close(*found)


def test_patches_belong_to_the_weights(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_vimogen(patch=PATCH, length_head=True)
    model.adopt(ViMoGenConfig(patch=1, length_head=False, strength=0.5))
    assert (model.config.patch, model.config.length_head, model.config.strength) == (PATCH, True, 0.5)
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed_words", "tests.models.tiny_million:HashedWords")
    again = load_model(save_model(model, tmp_path / "model", {}))
    assert again.config == model.config and again.usual_frames(["hop"]) == model.usual_frames(["hop"])
    prompts = [one.prompt((WALK,), "motion", 22) for one in (model, again)]
    torch.testing.assert_close(sampled(model, prompts[:1], [22]), sampled(again, prompts[1:], [22]))
    with pytest.raises(ConfigError, match="patch is 0"):
        ViMoGenConfig(patch=0)


def test_folders_from_before_load_as_before(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_vimogen()
    folder = save_model(model, tmp_path / "model", {})
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    for name in ("patch", "length_head"):
        del stored["config"][name]
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed_words", "tests.models.tiny_million:HashedWords")
    again = load_model(folder)
    assert again.config == model.config and again.lengths is None
    torch.testing.assert_close(again.state_dict(), model.state_dict())


def test_published_files_have_no_place_for_patches_nor_for_lengths() -> None:
    with pytest.raises(CheckpointError, match="patch=4: published files have one frame to a position"):
        published_state(tiny_vimogen(patch=4))
    model = tiny_vimogen(length_head=True)
    assert not any("lengths" in key for key in published_state(model)) and "left out" in losses(model)[0]
    assert losses(tiny_vimogen()) == []


def test_memory_is_counted_in_positions() -> None:
    found = [tiny_vimogen(patch=patch, references=False).activation_bytes(2, 60, False, False) for patch in (1, 2, 4)]
    assert found[0] > 1.5 * found[1] > 2 * found[2]
    whole, half = (tiny_vimogen(patch=2).activation_bytes(2, frames, False, False) for frames in (60, 30))
    assert whole > 1.5 * half, "not only as far as there are positions"


# lengths


def test_a_length_head_learns_how_long_the_motions_of_texts_are() -> None:
    model = tiny_vimogen(length_head=True, default_frames=77).train()
    batch = [example(WALK, frames=30), example(Text("someone hops"), frames=60)]
    optimizer = torch.optim.Adam(model.lengths.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(batch)["length_loss"].backward()
        optimizer.step()
    assert not any(p.grad is not None for p in model.transformer.parameters()), "the transformer learns nothing of it"
    walk, hop = model.eval().usual_frames([WALK.text, "someone hops"])
    assert abs(walk - 30) <= 4 and abs(hop - 60) <= 6
    assert model.usual_frames(["someone hops"]) == [hop], "whatever else is asked"
    pipeline = Pipeline(model)
    assert pipeline.run([Request((WALK,), "motion")])[0].motion.num_frames == walk
    assert pipeline.run([Request((WALK,), "motion", 25)])[0].motion.num_frames == 25
    assert pipeline.run([Request((Text("a person walks for two seconds"),), "motion")])[0].motion.num_frames == 40
    assert pipeline.run([Request((Reference(rows(45)),), "motion")])[0].motion.num_frames == 45
    assert set(model.loss(batch)) == {"flow_loss", "length_loss"}


def test_lengths_stay_between_what_can_be_made() -> None:
    model = tiny_vimogen(length_head=True, positions=100)
    last = model.lengths.layers[-1]
    for bias, frames in ((50.0, 100), (-50.0, 1)):
        torch.nn.init.constant_(last.bias, bias)
        assert model.usual_frames(["hop"]) == [frames]
    assert len(sampled(model, [model.prompt((WALK,), "motion", 1)], [1])[0]) == 1


def test_a_batch_without_texts_still_has_gradients_of_the_length_head() -> None:
    model = tiny_vimogen(length_head=True).train()
    terms = model.loss([example(Reference(rows(20)), frames=20)])
    assert float(terms["length_loss"].detach()) == 0
    sum(terms[name] for name in ("flow_loss", "length_loss")).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.lengths.parameters())


def test_settings_are_off_as_published() -> None:
    usual = ViMoGenConfig()
    assert (usual.patch, usual.length_head) == (1, False)
    assert dataclasses.replace(usual, patch=4).transformer(276, 138, 16).channels == 4 * 276
