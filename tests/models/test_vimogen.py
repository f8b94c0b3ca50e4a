"""ViMoGen: what its loss counts, what leads a motion, lengths, given frames, edits, and settings of sampling."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.pipeline import Noted, Pipeline
from mld.engine.request import Request
from mld.errors import ConfigError, MldError, RequestError
from mld.example import Clip, Example, Reference, Text
from mld.models.families.vimogen import sampling
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.reference import Spoiling, spoilt
from mld.models.families.vimogen.training import Draws
from mld.models.heads.flow import TRAINED
from mld.models.noise import RowNoise
from mld.motion import stitch
from mld.motion.motion import Motion
from tests.models.tiny_million import tiny_codes
from tests.models.tiny_vimogen import COLUMNS, rows, tiny_vimogen, walk

WALK = Text("a person walks")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(tiny_vimogen())


def run(pipeline: Pipeline, *prompt, frames: int | None = None, seed: int = 0):
    return pipeline.run([Request(tuple(prompt), "motion", frames, seed)])[0]


def example(*prompt, frames: int = 30, supervised=None) -> Example:
    return Example(prompt, (Clip(features=rows(frames)),), frames, supervised=supervised)


def draws_of(model, batch) -> Draws:
    places = torch.arange(len(batch.clean)) * 200 + 100
    return Draws.at(places, torch.randn(batch.clean.shape, generator=torch.Generator().manual_seed(4)), model.config)


# training


def test_the_loss_counts_real_frames_and_supervised_columns_and_the_root_thrice() -> None:
    model = tiny_vimogen()
    some = frozenset({"joint_rotations"})
    batch = model.rows([example(WALK, frames=30), example(WALK, frames=20, supervised=some)])
    draws = draws_of(model, batch)
    assert batch.counted.sum(1).tolist() == [276, 126] and batch.mask.sum(1).tolist() == [30, 20]
    terms = model.step(batch, draws)
    state = (1 - draws.sigma[:, None, None]) * batch.clean + draws.sigma[:, None, None] * draws.noise
    with torch.no_grad():
        got = model.transformer(state, TRAINED * draws.sigma, batch.texts, batch.references, batch.mask,
                                batch.reference_mask, batch.by_text)  # fmt: skip
    squares = (got - (draws.noise - batch.clean)).square()
    squares[..., COLUMNS.columns("root")] *= 3
    wanted = draws.weight[0] * squares[0, :30].sum() + draws.weight[1] * squares[1, :20, :126].sum()
    torch.testing.assert_close(terms["flow_loss"], wanted / (30 * 276 + 20 * 126))
    assert set(terms) == {"flow_loss", "monitor/loss_text"}


def test_rows_that_follow_a_reference_are_told_apart_and_read_no_text() -> None:
    model = tiny_vimogen().train()
    model.text.asked.clear()
    batch = model.rows([example(Reference(rows(30)), Text("unread")), example(WALK, frames=25)])
    assert batch.by_text.tolist() == [False, True] and "unread" not in model.text.asked
    assert batch.references.shape == (2, 30, 138)
    assert not batch.references[1].any() and not batch.reference_mask[1].any()
    terms = model.step(batch, draws_of(model, batch))
    assert {"monitor/loss_text", "monitor/loss_reference"} < set(terms)
    terms["flow_loss"].backward()
    assert all(p.grad is not None for name, p in model.named_parameters()), "every weight has part in a step"


def test_half_of_the_texts_are_dropped_in_training_alone() -> None:
    model = tiny_vimogen().train()
    batch = [example(WALK)] * 64
    model.texts([True] * 64, batch)
    assert 16 < model.text.asked.count("") < 48
    model.eval().text.asked.clear()
    model.texts([True] * 64, batch)
    assert "" not in model.text.asked


def test_texts_are_filled_with_rows_that_are_read_and_longer_ones_stay() -> None:
    model = tiny_vimogen(text_rows=6)
    long, short = Text(" ".join("abcdefghij")), Text("a b")
    texts, read = model.filled(model.read([long.text, short.text]))
    assert texts.shape[:2] == (2, 11) and read.sum(1).tolist() == [11, 6]
    assert model.filled(model.read([short.text]))[1] is None
    alone = model.rows([example(short)])
    beside = model.rows([example(short), example(long)])
    draws = draws_of(model, alone)
    got = [model.transformer(batch.clean[:1], draws.time, batch.texts[:1], mask=batch.mask[:1],
                             text_mask=None if batch.text_mask is None else batch.text_mask[:1])
           for batch in (alone, beside)]  # fmt: skip
    torch.testing.assert_close(*got)


def test_training_draws_from_torchs_generator_alone() -> None:
    model = tiny_vimogen().train()
    batch = [example(WALK), example(Reference(rows(30)))]
    losses = []
    for _ in range(2):
        torch.manual_seed(5)
        losses.append(model.loss(batch)["flow_loss"].item())
    assert losses[0] == losses[1] != model.loss(batch)["flow_loss"].item()


def test_spoilt_references_change_where_drawn_and_only_real_frames() -> None:
    torch.manual_seed(0)
    clean, mask = torch.randn(4, 50, 6), torch.arange(50) < torch.tensor([50, 40, 30, 20])[:, None]
    config = ViMoGenConfig(corrupt_rate=[0.5, 0.5], corrupt_scale=[0.1, 0.1], blend_rate=[0.1, 0.1], drop_rate=0.2)
    found, seen = spoilt(clean, mask, Spoiling.new(config, clean))
    assert torch.equal(found[~mask], clean[~mask]) and not (seen & ~mask).any()
    dropped = mask & ~seen
    assert 0.1 < dropped.sum() / mask.sum() < 0.3 and not found[dropped].any()
    assert (seen.float().diff(dim=1) == 1).any(), "frames are missing in between, not only at the end"
    still = ViMoGenConfig(corrupt_rate=[0, 0], blend_rate=[0, 0], drop_rate=0.0)
    same, all_seen = spoilt(clean, mask, Spoiling.new(still, clean))
    assert torch.equal(same, clean) and torch.equal(all_seen, mask)


# answers


def test_lengths_are_those_asked_for_told_or_led_by_and_else_the_usual(pipeline: Pipeline) -> None:
    assert run(pipeline, WALK).motion.num_frames == 100
    assert run(pipeline, WALK, frames=37).motion.num_frames == 37
    told = run(pipeline, Text("a person walks for two seconds"))
    assert told.motion.num_frames == 40 and "as the text says" in told.notes[0]
    led = Reference(rows(45))
    assert run(pipeline, led).motion.num_frames == 45
    for wanted in (30, 60):
        assert run(pipeline, led, frames=wanted).motion.num_frames == wanted


def test_a_reference_leads_and_its_text_is_told_not_to_be_read(pipeline: Pipeline) -> None:
    led = Reference(rows(45))
    alone, worded = run(pipeline, led), run(pipeline, WALK, led)
    assert torch.equal(alone.features, worded.features) and not alone.notes
    assert worded.notes == ("the reference motion leads, the text is not read",)
    other = run(pipeline, Reference(rows(45, turning=-0.04)))
    assert not torch.allclose(alone.features, other.features, atol=1e-3)
    moved = COLUMNS.columns("positions")
    still = rows(45).clone()
    still[:, moved] += 3.0
    assert torch.equal(run(pipeline, Reference(still)).features, alone.features), "places of a reference are not read"


@pytest.mark.parametrize("sampler", ["euler", "heun", "ab2", "dpm++"])
def test_each_answer_depends_on_its_own_request_alone(sampler: str) -> None:
    pipeline = Pipeline(tiny_vimogen(sampler=sampler))
    head = pipeline.clip(walk(20))
    long = Text(" ".join("abcdefghijkl"))
    wanted = [
        Request((WALK,), "motion", 30, 1), Request((Reference(rows(41)),), "motion", None, 2),
        Request((long,), "motion", 52, 3), Request((WALK, head), "motion", 44, 4), Request((WALK,), "motion", 30, 5),
    ]  # fmt: skip
    together, alone = pipeline.run(wanted, batch_size=8), [pipeline.run([one])[0] for one in wanted]
    for one, other in zip(together, alone):
        torch.testing.assert_close(one.tokens, other.tokens, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(together[0].tokens, together[4].tokens)


def test_the_exact_way_is_the_published_loop() -> None:
    model = tiny_vimogen()
    prompts = [model.prompt([WALK], "motion"), model.prompt([Reference(rows(25))], "motion")]
    mask = torch.arange(30) < torch.tensor([30, 25])[:, None]
    found = {}
    for exact in (True, False):
        model.adopt(dataclasses.replace(model.config, exact=exact))
        found[exact] = model.denoise(prompts).sample(mask, RowNoise([3, 4]))
    torch.testing.assert_close(found[True], found[False], atol=1e-4, rtol=0)


def test_settings_of_sampling_reach_the_model(pipeline: Pipeline) -> None:
    usual = run(pipeline, WALK, frames=30).features
    for change in ({"num_inference_steps": "7"}, {"sampler": "dpm++"}, {"guidance_scale": 1.0},
                   {"strength": 1.0}, {"shift": 2.0}, {"smooth": False}, {"reconcile": True}):  # fmt: skip
        motion = pipeline.generate("a person walks", seconds=1.5, **change)
        assert motion.num_frames == 30
    plain, *others = (pipeline.generate("waves", seconds=1.5, **change).joints for change in (
        {}, {"strength": 1.0}, {"shift": 2.0}, {"smooth": False}, {"reconcile": True}))  # fmt: skip
    assert not any(torch.equal(joints, plain) for joints in others)
    assert pipeline.generate("waves", default_frames=40).num_frames == 40
    with pytest.raises(ConfigError, match="shift"):
        pipeline.generate("waves", shift=0.0)
    assert torch.equal(run(pipeline, WALK, frames=30).features, usual), "for one call only"
    with pytest.raises(ConfigError, match="sampler 'ddim'"):
        pipeline.generate("a person walks", sampler="ddim")
    with pytest.raises(ConfigError, match="num_inference_steps"):
        pipeline.generate("a person walks", num_inference_steps="0")


# given frames


def test_prediction_begins_with_what_was_given_wherever_that_stands(pipeline: Pipeline) -> None:
    joints = stitch.turn(walk(30).joints, torch.tensor(2.0)) + torch.tensor([5.0, 0.0, -3.0])
    far = pipeline.predict(Motion(joints, 20.0), seconds=3.0)
    assert far.num_frames == 60 and torch.equal(far.joints[:30], joints)
    near = pipeline.predict(walk(30), seconds=3.0)
    back = stitch.turn(far.joints - torch.tensor([5.0, 0.0, -3.0]), torch.tensor(-2.0))
    torch.testing.assert_close(back, near.joints, atol=2e-3, rtol=0)


def test_given_frames_stand_in_the_features_of_the_answer(pipeline: Pipeline) -> None:
    head = pipeline.clip(walk(30))
    answer = run(pipeline, WALK, head, frames=60)
    torch.testing.assert_close(answer.features[:30], head.features, atol=1e-4, rtol=0)


SPANS = [(1.0, 2.0), (0.5, 3.5), (2.0, 4.0)]


@pytest.mark.parametrize(("start", "stop"), SPANS)
def test_an_edit_changes_what_it_is_to_change(pipeline: Pipeline, start: float, stop: float) -> None:
    whole = walk(80)
    made = pipeline.edit(whole, "a person waves", start, stop)
    first, last = round(20 * start), round(20 * stop)
    assert made.num_frames == 80
    for kept in (slice(0, first), slice(last, 80)):
        assert torch.equal(made.joints[kept], whole.joints[kept])
    assert not torch.allclose(made.joints[first:last], whole.joints[first:last], atol=1e-2)
    other = pipeline.edit(whole, "a person waves", start, stop, seed=1)
    assert not torch.allclose(made.joints[first:last], other.joints[first:last], atol=1e-2)


@pytest.mark.parametrize(("start", "stop"), SPANS)
def test_what_a_good_model_makes_joins_what_is_given(pipeline, monkeypatch, start: float, stop: float) -> None:
    """The flow of a model that knows the walk, far from the origin, leads to that walk: in its place, without a jump.
    It knows it in the world of the first frame, where both given ends have to be."""
    joints = stitch.turn(walk(80).joints, torch.tensor(0.7)) + torch.tensor([2.0, 0.0, 4.0])
    whole = Motion(joints, 20.0)
    clean = pipeline.model.tokenizer.normalize(pipeline.clip(whole).features)
    known = []

    class Knowing:
        def __init__(self, *args) -> None:
            pass

        def __call__(self, state: torch.Tensor, t: float) -> torch.Tensor:
            known.append(state)
            return (state - clean) / (t / TRAINED)

    monkeypatch.setattr(sampling, "Exact", Knowing)
    made = pipeline.edit(whole, "a person walks", start, stop)
    steps, usual = (one.joints.diff(dim=0).norm(dim=-1).amax(-1) for one in (made, whole))
    assert steps.max() < 1.3 * usual.max()
    assert (made.joints - joints).norm(dim=-1).max() < 0.05
    assert known


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [(float("nan"), 2.0, "no stretch"), (1.0, float("inf"), "no stretch"),
     (2.0, 2.0, "nothing to make anew"), (3.0, 1.0, "nothing to make anew"), (9.0, 10.0, "nothing to make anew"),
     (0.0, 2.0, "have to stay")],
)  # fmt: skip
def test_a_stretch_that_is_none_is_refused(pipeline: Pipeline, start: float, stop: float, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        pipeline.edit(walk(80), "a person waves", start, stop)


def test_a_motion_without_an_end_is_made_in_windows(pipeline: Pipeline) -> None:
    stream = pipeline.stream("a person walks", seconds=6.0, history=walk(40))
    chunks = [chunk.joints for chunk in stream]
    joints = torch.cat(chunks)
    assert not stream.native and len(joints) == 120 and torch.isfinite(joints).all()


# what cannot be


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ConfigError, match="a vector per frame"):
        tiny = tiny_vimogen()
        type(tiny)(tiny.config, tiny_codes(), tiny.text)
    light = tiny_vimogen(references=False)
    assert not any("reference" in name for name in light.state_dict())
    with pytest.raises(MldError, match="follows texts alone"):
        run(Pipeline(light), Reference(rows(30)))
    assert run(Pipeline(light), WALK, frames=20).motion.num_frames == 20
    for wrong in ({"size": "2B"}, {"strength": 0.0}, {"blend_rate": [0.5, 0.1]}, {"shift": -1.0}, {"text_rows": 0}):
        with pytest.raises(ConfigError):
            ViMoGenConfig(**wrong)


def test_more_frames_than_there_are_positions_are_refused() -> None:
    pipeline = Pipeline(tiny_vimogen(positions=120))
    assert run(pipeline, WALK, frames=120).motion.num_frames == 120
    for prompt, frames in ((WALK, 121), (Reference(rows(130)), None)):
        with pytest.raises(RequestError, match="at most 120 at once"):
            run(pipeline, prompt, frames=frames)
    longer = run(pipeline, pipeline.clip(walk(125)))
    assert longer.motion.num_frames > 125 and longer.notes, "of a longer motion the end is read"


def test_notes_of_answers_are_said(pipeline: Pipeline) -> None:
    with pytest.warns(Noted, match="as the text says"):
        pipeline.generate("a person walks for two seconds")
