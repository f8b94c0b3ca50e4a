"""TMR and the 272-column evaluator: batch independence, text features and their cache, training, folders, refusals."""

from __future__ import annotations

import copy

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError, DataError
from mld.example import Caption, EvaluatorBatch
from mld.models.evaluators.tmr.latent_losses import info_nce, kl_divergence
from mld.models.gaussian import Gaussian
from mld.models.registry import find
from mld.models.text_encoders.bert import BertEncoder
from tests.models.evaluating import (
    CAPTIONS,
    motions,
    overfit,
    pairs,
    tiny_tmr,
    tiny_tmr272,
    write_text_encoder,
)

MAKERS = {"tmr": (tiny_tmr, 263), "tmr272": (tiny_tmr272, 272)}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return write_text_encoder(tmp_path_factory.mktemp("hub") / "bert")


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("family", MAKERS)
@torch.no_grad()
def test_a_row_does_not_depend_on_the_batch(family: str, encoder: str) -> None:
    make, width = MAKERS[family]
    model = make(encoder)
    features, mask = motions(width)
    whole, texts = model.embed_motion(features, mask), model.embed_text(CAPTIONS)
    close(model.embed_motion(features, mask, mode="upstream"), whole)
    spoiled = torch.where(mask[..., None], features, torch.full_like(features, float("nan")))
    close(model.embed_motion(spoiled, mask), whole)
    for row, length in enumerate(mask.sum(1).tolist()):
        close(model.embed_motion(features[row : row + 1, :length], mask[row : row + 1, :length])[0], whole[row])
        close(model.embed_text([CAPTIONS[row]])[0], texts[row])
    scores = model.scores(texts, whole)
    assert scores.shape == (6, 6) and scores.min() >= 0 and scores.max() <= 1
    assert model.metric == {"tmr": "cosine", "tmr272": "euclidean"}[family]


@pytest.mark.parametrize("family", MAKERS)
def test_model_folder_round_trip(family: str, tmp_path) -> None:
    """The text encoder travels in the folder: the one it came from may be gone."""
    make, width = MAKERS[family]
    source = write_text_encoder(tmp_path / "bert")
    model = make(source)
    save_model(model, tmp_path / "m")
    (tmp_path / "bert").rename(tmp_path / "gone")
    twin = load_model(tmp_path / "m")
    assert isinstance(twin, find("evaluator", family))
    features, mask = motions(width)
    assert torch.equal(twin.embed_motion(features, mask), model.embed_motion(features, mask))
    assert torch.equal(twin.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
    assert twin.fingerprint() == model.fingerprint()
    save_model(twin, tmp_path / "m")  # onto itself
    assert torch.equal(load_model(tmp_path / "m").embed_text(CAPTIONS), model.embed_text(CAPTIONS))


def test_another_text_encoder_is_refused(encoder: str, tmp_path) -> None:
    model = tiny_tmr(encoder)
    save_model(model, tmp_path / "m")
    other = BertEncoder(write_text_encoder(tmp_path / "other", seed=5))
    other.save(tmp_path / "m" / "text_encoder")
    loaded = load_model(tmp_path / "m")
    loaded.embed_motion(*motions(263))
    with pytest.raises(CheckpointError, match="is not the one that the model was trained with"):
        loaded.embed_text(CAPTIONS)


@pytest.mark.parametrize("family", MAKERS)
def test_it_learns(family: str, encoder: str) -> None:
    make, width = MAKERS[family]
    model, batch = make(encoder, dropout=0.0, noise_scale=0.1), pairs(width)
    start = model.loss(batch)
    assert set(start) == {*model.loss_weights, "monitor/similarity"}
    totals = overfit(model, batch, steps=40, lr=3e-3)
    assert totals[-1] < 0.75 * totals[0]
    after = model.loss(batch)
    assert after["contrastive"] < 0.5 * start["contrastive"]
    with torch.no_grad():
        scores = model.scores(model.embed_text(batch.captions), model.embed_motion(batch.features, batch.mask))
    assert (scores.argmax(1) == torch.arange(6)).all()


def test_false_negatives_leave_the_contrast(encoder: str) -> None:
    model = tiny_tmr(encoder)
    features, mask = motions(263)
    same = (CAPTIONS[0],) * 6
    assert model.loss(EvaluatorBatch(features, mask, same))["contrastive"] == 0
    assert model.loss(EvaluatorBatch(features, mask, CAPTIONS, ("walk",) * 6))["contrastive"] == 0
    assert model.loss(EvaluatorBatch(features, mask, CAPTIONS, ("",) * 6))["contrastive"] > 0
    compat = tiny_tmr272(encoder, similar_above=1.1, equal_are_negatives=True)
    assert compat.loss(EvaluatorBatch(*motions(272), same))["contrastive"] > 0


def test_the_272_column_evaluator_contrasts_means(encoder: str) -> None:
    """Its contrast does not see the noise of the latents; that of TMR does."""
    for model, sees in ((tiny_tmr(encoder), True), (tiny_tmr272(encoder), False)):
        features, mask = motions(model.nfeats)
        text, motion = model.encode_text(CAPTIONS), model.motion_encoder(features, mask)
        apart = torch.zeros(6, 6, dtype=torch.bool)
        quiet, loud = (
            model.losses(text, motion, [noise, -noise], features, mask, apart)["contrastive"]
            for noise in (torch.zeros_like(text.mu), torch.ones_like(text.mu))
        )
        assert torch.equal(quiet, loud) != sees


def test_losses_of_known_distributions() -> None:
    """KL of unit normals a distance 2 apart is 2 per dimension; InfoNCE of perfect pairs goes to 0."""
    zero, far = (Gaussian(torch.full((3, 4), value), torch.zeros(3, 4)) for value in (0.0, 2.0))
    assert kl_divergence(zero, far) == 2 and kl_divergence(far, far) == 0
    assert info_nce(torch.eye(5), torch.eye(5), 0.01) < 1e-6
    assert info_nce(torch.eye(2), torch.eye(2).flip(0), 0.1) > 5


# text features


@pytest.mark.parametrize("on_disk", [True, False])
def test_prepared_captions_are_not_computed_again(encoder: str, tmp_path, monkeypatch, on_disk: bool) -> None:
    monkeypatch.setattr("mld.models.text_encoders.encoder.PER_FILE", 4)
    model = tiny_tmr(encoder)
    model.prepare_text([*CAPTIONS, *CAPTIONS], tmp_path / "cache" if on_disk else None)
    assert len(list(tmp_path.rglob("*.safetensors"))) == (2 if on_disk else 0), "six texts in files of four"
    monkeypatch.setattr(BertEncoder, "compute", None)
    model.prepare_text(CAPTIONS)
    assert model.embed_text(CAPTIONS).isfinite().all()


def test_copies_share_the_text_side(encoder: str) -> None:
    model = tiny_tmr(encoder)
    twin = copy.deepcopy(model)
    assert twin.text is model.text and twin.motion_encoder is not model.motion_encoder
    assert not any("text_model" in key or key.startswith("text.") for key in model.state_dict())


def test_refusals_are_one_line(encoder: str) -> None:
    model, (features, mask) = tiny_tmr(encoder), motions(263)
    broken = features.clone()
    broken[1, 3, 0] = float("inf")
    for message, call in {
        "reads features": lambda: model.embed_motion(features[..., :100], mask),
        "motion 1 holds NaN or infinity from frame 3": lambda: model.embed_motion(broken, mask),
        "at 20 fps, but the clips are 'humanml3d' at 30 fps": lambda: model.check_clips("humanml3d", 30.0),
        "caption 1 is empty": lambda: model.embed_text([CAPTIONS[0], Caption("")]),
        "motion 0 has 301 frames": lambda: tiny_tmr272(encoder).embed_motion(*motions(272, (301,))),
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
