"""The Guo evaluator: batch independence, padding, words, training stages, model folder, refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError, ConfigError, DataError, MldError
from mld.example import Caption, EvaluatorBatch
from mld.models.evaluators.guo.model import GuoEvaluator
from mld.models.evaluators.guo.networks import BiGRU, MovementEncoder, WordEncoder
from mld.models.evaluators.guo.tagging import tag_caption, tagger_name
from mld.models.evaluators.guo.vectorizer import PARTS, WordVectors
from mld.models.evaluators.guo.word_vectors import train_word_vectors
from mld.models.registry import find
from tests.models.evaluating import CAPTIONS, WIDTHS, motions, overfit, pairs, statistics, tiny_guo


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("representation", WIDTHS)
@torch.no_grad()
def test_a_row_does_not_depend_on_the_batch(representation: str) -> None:
    model = tiny_guo(representation)
    features, mask = motions(WIDTHS[representation])
    whole = model.embed_motion(features, mask)
    noise = torch.where(mask[..., None], features, torch.full_like(features, float("nan")))
    close(model.embed_motion(noise, mask), whole)
    for row, length in enumerate(mask.sum(1).tolist()):
        close(model.embed_motion(features[row : row + 1, :length], mask[row : row + 1, :length])[0], whole[row])
    texts = model.embed_text(CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        close(model.embed_text([caption])[0], texts[row])
    assert texts.shape == whole.shape == (6, model.embedding_dim)


@torch.no_grad()
def test_upstream_mode_depends_on_the_padding() -> None:
    """MotionGPT's copy reads the padding, so its numbers change with the longest clip of the batch."""
    model = tiny_guo()
    features, mask = motions(263)
    whole = model.embed_motion(features, mask, mode="upstream")
    alone = model.embed_motion(features[1:2], mask[1:2], mode="upstream")[0]
    assert (whole[1] - alone).abs().max() > 1e-3
    assert (whole - model.embed_motion(features, mask)).abs().max() > 1e-3
    with pytest.raises(ConfigError, match="mode 'loose'"):
        model.embed_motion(features, mask, mode="loose")


@torch.no_grad()
def test_statistics_are_its_own_and_contacts_are_not_seen() -> None:
    model = tiny_guo()
    features, mask = motions(263)
    before = model.embed_motion(features, mask)
    features[..., -4:] += 1
    close(model.embed_motion(features, mask), before)
    normalizer = statistics(263)
    model.set_normalizer(type(normalizer).identity(263))
    close(model.embed_motion((features - normalizer.mean) / normalizer.std, mask), before)


@pytest.mark.parametrize("stage", ["movement", "matching"])
def test_model_folder_round_trip(stage: str, tmp_path) -> None:
    model = tiny_guo(stage=stage)
    folder = save_model(model, tmp_path / "m")
    twin = load_model(folder)
    assert isinstance(twin, find("evaluator", "guo")) and twin.fingerprint() == model.fingerprint()
    assert twin.fps == 20 and twin.representation == "humanml3d" and twin.metric == "euclidean"
    features, mask = motions(263)
    if stage == "movement":
        with pytest.raises(CheckpointError, match="train stage 'matching'"):
            twin.embed_motion(features, mask)
    else:
        assert torch.equal(twin.embed_motion(features, mask), model.embed_motion(features, mask))
        assert torch.equal(twin.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
    twin.text_encoder.hidden.data += 1e-4
    assert twin.fingerprint() != model.fingerprint()


def test_both_stages_learn() -> None:
    model, batch = tiny_guo(stage="movement"), pairs(263)
    totals = overfit(model, batch, steps=30, lr=5e-3)
    assert totals[-1] < 0.7 * totals[0]
    matching = model.for_matching()
    before = {key: value.clone() for key, value in matching.movement_encoder.state_dict().items()}
    totals = overfit(matching, batch, steps=60, lr=5e-3)
    assert totals[-1] < 0.3 * totals[0]
    assert all(torch.equal(before[k], v) for k, v in matching.movement_encoder.state_dict().items()), "frozen"
    assert all(torch.equal(before[k], v) for k, v in model.movement_encoder.state_dict().items())
    motion, text = matching.embed_motion(batch.features, batch.mask), matching.embed_text(batch.captions)
    assert (torch.cdist(text, motion).argmin(1) == torch.arange(6)).all()


def test_wrong_pairs_are_never_right_ones() -> None:
    """Two clips of one label: with a shift that is never 0 no negative is left, whatever is drawn."""
    model = tiny_guo()
    features, mask = motions(263, (16, 16))
    batch = EvaluatorBatch(features, mask, CAPTIONS[:2], ("walk", "walk"))
    for _ in range(5):
        assert model.loss(batch)["negative"] == 0
    assert model.loss(EvaluatorBatch(features, mask, CAPTIONS[:2]))["negative"] > 0
    with pytest.raises(DataError, match="at least two clips"):
        model.loss(EvaluatorBatch(features[:1], mask[:1], CAPTIONS[:1]))


def spoiled(model: GuoEvaluator, what: str) -> None:
    features, mask = motions(263)
    if what == "width":
        model.embed_motion(features[..., :251], mask)
    elif what == "fps":
        model.check_clips("humanml3d", 30)
    elif what == "representation":
        model.check_clips("kit", 20)
    elif what == "nan":
        features[2, 7, 3] = float("nan")
        model.embed_motion(features, mask)
    elif what == "long":
        model.embed_motion(*motions(263, (40, 197)))
    elif what == "short":
        model.embed_motion(*motions(263, (40, 3)))
    elif what == "holes":
        model.embed_motion(features, mask.flip(1))
    elif what == "mask":
        model.embed_motion(features, mask.float())
    elif what == "caption":
        model.embed_text([*CAPTIONS, Caption("  ")])
    elif what == "nothing":
        model.embed_text([])
    elif what == "token":
        model.embed_text([Caption("a walk", ("a/DET", "walk"))])


REFUSALS = {
    "width": r"reads features \(B, T, 263\)", "fps": "at 20 fps, but the clips", "representation": "'kit' at 20",
    "nan": "motion 2 holds NaN or infinity from frame 7", "long": "motion 1 has 197 frames.*4 to 196",
    "short": "motion 1 has 3 frames", "holes": "real frames have to come first", "mask": "mask has to be bool",
    "caption": "caption 6 is empty", "nothing": "no captions", "token": "'walk' is not of the form word/POS",
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_are_one_line(what: str) -> None:
    with pytest.raises(MldError, match=REFUSALS[what]) as caught:
        spoiled(tiny_guo(), what)
    assert "\n" not in str(caught.value)


def test_published_sizes() -> None:
    """Parameter counts of spec 1.1 for 263 columns."""
    with torch.device("meta"):
        networks = MovementEncoder(259, 512, 512), BiGRU(512, 1024, 512), WordEncoder(300, len(PARTS), 512, 512)
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [1_842_688, 15_747_584, 4_100_288]


# words


def test_word_files_round_trip(tmp_path) -> None:
    words = tiny_guo().words
    words.save(tmp_path)
    again = WordVectors.load(tmp_path)
    assert again.words == words.words and np.array_equal(again.vectors, words.vectors)
    batch = words.vectorize([["walks/VERB", "walk/NOUN", "left/ADJ", "a/XYZ"], ["a/DET"] * 30])
    assert batch.lengths.tolist() == [6, 22] and batch.ids.shape == (2, 22)
    assert batch.ids[0, 1] == words.index["unk"] and batch.pos[0, :6].tolist() == [14, 14, 12, 9, 14, 14]
    assert batch.ids[1, 21] == words.index["eos"]
    assert words.vectorize([["a/DET"] * 30], 40).lengths.tolist() == [32]


class Attack:
    def __reduce__(self):
        return print, ("owned",)


def test_word_files_that_lie(tmp_path, capsys) -> None:
    words = tiny_guo().words
    words.save(tmp_path)
    good = (tmp_path / "our_vab_words.pkl").read_bytes()
    for content, message in (
        (pickle.dumps(Attack()), "refused, not a pickle of plain words"), (b"", "refused"), (good[:20], "refused"),
        (pickle.dumps({"a": 1}), "has to hold a list"), (pickle.dumps(list(words.words[:-1])), "same words"),
    ):  # fmt: skip
        (tmp_path / "our_vab_words.pkl").write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            WordVectors.load(tmp_path)
    assert "owned" not in capsys.readouterr().out
    (tmp_path / "our_vab_words.pkl").unlink()
    with pytest.raises(CheckpointError, match="our_vab_words.pkl: missing"):
        WordVectors.load(tmp_path)


def test_published_word_files_are_taken(tmp_path) -> None:
    """float64 vectors and an index in another order than the list, as a real file may have."""
    names = ["eos", "sos", "walk", "unk"]
    np.save(tmp_path / "our_vab_data.npy", np.arange(8.0).reshape(4, 2))
    (tmp_path / "our_vab_words.pkl").write_bytes(pickle.dumps(names))
    (tmp_path / "our_vab_idx.pkl").write_bytes(pickle.dumps({"sos": 0, "eos": 1, "unk": 2, "walk": 3}))
    words = WordVectors.load(tmp_path)
    assert words.vectors[words.index["walk"]].tolist() == [6, 7] and words.vectors.dtype == np.float32


def test_own_word_vectors_put_like_words_together() -> None:
    sentences = [f"a/DET {who}/NOUN {how}/ADV {do}/VERB on/ADP the/DET {where}/NOUN".split()
                 for who in ("man", "woman") for how in ("slowly", "quickly") for do in ("walk", "run")
                 for where in ("floor", "stair")]  # fmt: skip
    words = train_word_vectors(sentences, 8)
    assert words.vectors.shape == (3 + 11, 8)
    again = train_word_vectors(sentences, 8)
    assert np.array_equal(words.vectors, again.vectors)

    def cosine(a: str, b: str) -> float:
        x, y = words.vectors[words.index[a]], words.vectors[words.index[b]]
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert cosine("walk", "run") > 0.9 > cosine("walk", "floor")
    with pytest.raises(DataError, match="no words"):
        train_word_vectors([], 8)


SENTENCES = {
    "a man kicks something or someone with his left leg.":
        "a/DET man/NOUN kick/VERB something/PRON or/CCONJ someone/PRON with/ADP his/DET left/ADJ leg/NOUN",
    "The person's stepping two steps forward, then picks up a box":
        "the/DET person/NOUN step/VERB two/NUM step/NOUN forward/ADV then/ADV pick/VERB up/ADV a/DET box/NOUN",
    "he side-stepped to walk": "he/PRON sidestep/VERB to/PART walk/VERB",
    "  42 !": "",
}  # fmt: skip


def test_rule_tagger() -> None:
    for text, tokens in SENTENCES.items():
        assert " ".join(tag_caption(text, "rules")) == tokens
    assert tagger_name("rules") == "rules"
    with pytest.raises(ConfigError, match="tagger 'best'"):
        tag_caption("a", "best")
