"""MotionStreamer: what its loss sees and counts, its answers, and its model folder. Parity cases say what is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import ConfigError
from mld.example import Clip, Example, Text
from mld.models import registry
from mld.models.backbones.llama import LlamaBlock
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.families.motionstreamer.model import MotionStreamer
from mld.models.families.motionstreamer.two_forward import Draws, Rows, counted_loss, guesses, mixed, replaced_share
from mld.motion.representations.registry import get_representation
from mld.training.parallel import units
from tests.models.tiny import tiny_vqvae
from tests.models.tiny_streamer import CHANNELS, HashedText, tiny_streamer
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down"


class Remembering(HashedText, family="remembering"):
    """Keeps the texts that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], device="cpu") -> list[TextFeatures]:
        self.asked += texts
        return super().encode(texts, device)


@pytest.fixture(scope="module")
def model() -> MotionStreamer:
    return tiny_streamer()


def latents(count: int, seed: int = 0) -> Clip:
    return Clip(tokens=torch.randn(count, CHANNELS, generator=torch.Generator().manual_seed(seed)))


def example(count: int, given: int = 0, text: str = WALK) -> Example:
    prompt = (Text(text), *((latents(given, 50),) if given else ()))
    return Example(prompt, (latents(count),), 4 * count)


# training


def test_rows_hold_what_is_given_what_follows_and_the_end(model: MotionStreamer) -> None:
    rows = model.rows([example(5), example(3, given=4)])
    assert rows.latents.shape == (2, 8, CHANNELS)
    assert torch.equal(rows.latents[0, :6], torch.cat((latents(5).tokens, model.end_latent[None])))
    want = torch.cat((latents(4, 50).tokens, latents(3).tokens, model.end_latent[None]))
    assert torch.equal(rows.latents[1], want)
    assert rows.counted.tolist() == [[True] * 6 + [False] * 2, [False] * 4 + [True] * 4]
    assert rows.history[1].tolist() == [True] * 4 + [False] * 4 and not rows.history[0].any()


def test_lengths_follow_the_batch_and_stay_within_the_positions(model: MotionStreamer) -> None:
    assert model.rows([example(2)]).latents.shape[1] == 3
    most = model.config.architecture.positions - 1
    assert model.rows([example(most + 20)]).latents.shape[1] == most


def test_the_end_latent_is_that_of_the_mean_pose_and_left_out_at_will(model: MotionStreamer) -> None:
    tokenizer = model.tokenizer
    frames = tokenizer.feature_mean.expand(1, 4, -1)
    encoded, _ = tokenizer.encode(frames, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(model.end_latent, encoded[0, 0], atol=1e-5, rtol=1e-5)
    without = tiny_streamer(end_probability=0.0)
    assert without.rows([example(5)]).counted.sum() == 5
    half = tiny_streamer(end_probability=0.5)
    torch.manual_seed(0)
    ends = half.rows([example(5)] * 400).counted.sum() - 5 * 400
    assert 150 < int(ends) < 250


def test_as_many_texts_are_dropped_as_the_share_says() -> None:
    """Exactly int(share * batch) of every batch, in training alone."""
    text = Remembering()
    model = tiny_streamer(text=text, text_dropout=0.3).train()
    batch = [example(3, text=f"{WALK} {i}") for i in range(11)]
    dropped = set()
    for _ in range(12):
        text.asked.clear()
        model.text_features(batch)
        assert text.asked.count("") == 3 and len(text.asked) == 11
        dropped |= {i for i, asked in enumerate(text.asked) if not asked}
    assert len(dropped) > 6
    text.asked.clear()
    model.eval().text_features(batch)
    assert "" not in text.asked


@pytest.mark.parametrize("progress, share", [(0.0, 0.0), (0.25, 0.5 * (1 - math.sqrt(0.5))), (0.5, 0.5), (1.0, 1.0)])
def test_the_share_that_is_predicted_rises(progress: float, share: float) -> None:
    assert replaced_share(progress) == pytest.approx(share)


def test_given_latents_stay_clean_and_others_are_replaced_in_the_same_places(model: MotionStreamer) -> None:
    rows = model.rows([example(6, given=4), example(9)])
    draws = Draws.new(rows, 50, 4)
    guessed = torch.full_like(rows.latents, 7.0)
    for count in (0, 4, rows.latents.shape[1]):
        found = mixed(rows, guessed, draws, count)
        chosen = draws.order[:count].tolist()
        for row in range(2):
            for place in range(rows.latents.shape[1]):
                replaced = place in chosen and not rows.history[row, place]
                want = guessed if replaced else rows.latents
                assert torch.equal(found[row, place], want[row, place]), (count, row, place)


def test_guesses_are_bounded_where_that_is_wanted(model: MotionStreamer) -> None:
    torch.manual_seed(3)
    rows = model.rows([example(12)] * 4)
    draws, texts = Draws.new(rows, 50, 1), torch.zeros(4, 12)

    def conditions(seen: torch.Tensor) -> torch.Tensor:
        return model.conditions(texts, seen[:, :-1])

    free, bound = (guesses(rows, conditions, model.head, draws, limit) for limit in (None, 1.5))
    assert float(free.abs().max()) > 1.5 == float(bound.abs().max())
    inside = free.abs() < 1.5
    torch.testing.assert_close(bound[inside], free[inside])


def test_the_loss_counts_what_follows_alone(model: MotionStreamer) -> None:
    """Padding and given latents have no part in it but as history; every counted one has `repeats` noise levels."""
    rows, texts = model.rows([example(5, given=3), example(8)]), torch.randn(2, 12)
    draws = Draws.new(rows, 50, 4)
    assert len(draws.counted_t) == 4 * int(rows.counted.sum())

    def loss(target: Rows) -> torch.Tensor:
        def conditions(seen: torch.Tensor) -> torch.Tensor:
            return model.conditions(texts, seen[:, :-1])

        return counted_loss(target, rows.latents, conditions, model.head, draws)

    other = torch.where(rows.counted[..., None], rows.latents, rows.latents + 5)
    assert torch.equal(loss(replace(rows, latents=other)), loss(rows))
    moved = torch.where(rows.counted[..., None], rows.latents + 1, rows.latents)
    assert not torch.equal(loss(replace(rows, latents=moved)), loss(rows))


def test_the_first_pass_has_no_gradient_and_the_tokenizer_none(model: MotionStreamer) -> None:
    network = tiny_streamer().train()
    found = network.loss([example(5), example(7, given=2, text=SIT)], progress=0.6)["diffusion_loss"]
    found.backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in network.named_parameters() if name.startswith("tokenizer.")}
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_two_passes_only_where_a_share_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    for settings, progress in (({}, 0.0), ({}, 0.5), ({"two_forward": False}, 0.5)):
        network = tiny_streamer(**settings).train()
        seen: list[int] = []
        inner = network.transformer.forward

        def watched(x: torch.Tensor, inner=inner, seen=seen) -> torch.Tensor:
            seen.append(1)
            return inner(x)

        monkeypatch.setattr(network.transformer, "forward", watched)
        network.loss([example(6)], progress)
        passes.append(len(seen))
    assert passes == [1, 2, 1]


# answers


def joints_of(features: torch.Tensor) -> torch.Tensor:
    return get_representation("motion272").decode(features).joints


def answers(model: MotionStreamer, *requests: Request, batch_size: int = 8):
    return Pipeline(model, bones="clip").run(list(requests), batch_size=batch_size)


def request(text: str = WALK, frames: int | None = None, seed: int = 0, given: torch.Tensor | None = None) -> Request:
    before = () if given is None else (Clip(features=given, joints=joints_of(given)),)
    return Request((Text(text), *before), "motion", frames, seed)


def test_motions_have_the_frames_that_are_wanted(model: MotionStreamer) -> None:
    wanted = [4, 20, 44, 8]
    found = answers(model, *(request(frames=frames, seed=i) for i, frames in enumerate(wanted)))
    assert [answer.motion.num_frames for answer in found] == wanted


def test_a_latent_near_the_end_latent_stops_it_but_not_before_the_least() -> None:
    for least in (1, 5):
        network = tiny_streamer(end_distance=1e6, least_latents=least)
        (found,) = answers(network, request())
        assert found.motion.num_frames == 4 * least and found.complete
        assert answers(network, request(frames=40))[0].motion.num_frames == 40  # a length that is wanted counts
    network = tiny_streamer(end_distance=1e-9, longest=7)
    (found,) = answers(network, request())
    assert found.motion.num_frames == 28 and not found.complete


def test_answers_do_not_depend_on_who_is_beside_them(model: MotionStreamer) -> None:
    asked = [request(text, frames, seed) for text, frames, seed in
             ((WALK, 40, 1), (SIT, 12, 2), (WALK, 40, 3), (WALK, 60, 1), (SIT, 28, 1))]  # fmt: skip
    together, alone = (answers(model, *asked, batch_size=size) for size in (8, 1))
    for one, other in zip(together, alone):
        torch.testing.assert_close(one.features, other.features, atol=2e-4, rtol=1e-3)
    assert (together[0].features - together[2].features).abs().max() > 1e-2  # another seed
    torch.testing.assert_close(together[0].features, together[3].features[:40], atol=2e-4, rtol=1e-3)


def test_a_motion_that_goes_on_keeps_what_was_given(model: MotionStreamer) -> None:
    given = get_representation("motion272").encode_joints(walker(24)[None])[0]
    (found,) = answers(model, request(frames=48, given=given))
    assert torch.equal(found.motion.joints[:24], joints_of(given)) and found.motion.num_frames == 48
    (without,) = answers(model, request(frames=48))
    assert (without.features[24:] - found.features[24:]).abs().max() > 1e-3


def test_guidance_of_one_leaves_the_empty_text_out() -> None:
    text = Remembering()
    network = tiny_streamer(text=text, guidance_scale=1.0)
    answers(network, request(frames=8))
    assert "" not in text.asked
    network.adopt(replace(network.config, guidance_scale=3.0))
    answers(network, request(frames=8))
    assert "" in text.asked


# settings, folders, devices


def test_adopting_keeps_sizes_and_takes_the_rest(model: MotionStreamer) -> None:
    network = tiny_streamer()
    usual = network.config
    other = replace(
        usual, architecture=replace(usual.architecture, layers=9), text_dropout=0.4, temperature=0.5,
        head=replace(usual.head, num_inference_steps="10", width=999),
    )  # fmt: skip
    network.adopt(other)
    assert network.config.architecture == usual.architecture and network.config.head.width == usual.head.width
    assert (network.config.text_dropout, network.config.temperature, network.head.steps) == (0.4, 0.5, 10)


def test_a_folder_gives_the_same_answers(
    model: MotionStreamer, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed", "tests.models.tiny_streamer:HashedText")
    again = load_model(save_model(model, tmp_path / "model", {}))
    assert isinstance(again, MotionStreamer) and again.config == model.config
    assert torch.equal(again.end_latent, model.end_latent)
    (one,), (other,) = (answers(network, request(frames=24, seed=4)) for network in (model, again))
    assert torch.equal(one.features, other.features)


def test_blocks_are_what_devices_share(model: MotionStreamer) -> None:
    found = units(model)
    assert len(found) == 2 and all(isinstance(unit, LlamaBlock) for unit in found)


def test_tokenizers_that_give_no_latents_in_order_are_refused() -> None:
    usual = tiny_streamer()
    with pytest.raises(ConfigError, match="needs latents in order, as of 'causal_ae'"):
        MotionStreamer(usual.config, tiny_vqvae(), HashedText())


def test_a_length_in_words_is_the_length_unless_answers_are_as_published() -> None:
    model, request = tiny_streamer(), Request((Text("a person walks for one and a half seconds"),), "motion")
    (answer,) = Pipeline(model).run([request])
    assert answer.motion.num_frames == round(1.5 * answer.motion.fps) and "as the text says" in answer.notes[0]
    model.answer_as_published()
    assert not model.reads_lengths
