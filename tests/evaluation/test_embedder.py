"""Embeddings of an evaluation: batched and cached ones are those of one clip at a time; bad input costs one row."""

from __future__ import annotations

import pytest
import torch

from mld.evaluation import rows
from mld.evaluation.draws import Replication, draw
from mld.evaluation.embedder import EMPTY, Embedder, mean_pose
from mld.evaluation.evaluators import Evaluator
from mld.evaluation.protocol import Protocol
from mld.example import Caption
from mld.models.text_encoders.bert import MINILM, BertEncoder
from mld.motion.representations.registry import get_representation
from tests.metrics.splits import Counting, clips, split

PROTOCOL = Protocol()


def one_by_one(items) -> torch.Tensor:
    """The naive twin: no batches, no cache."""
    network = Counting()
    found = []
    for item in items:
        whole = torch.ones(1, item.clip.num_frames, dtype=torch.bool)
        found.append(network.embed_motion(item.clip.features[None], whole).detach())
    return torch.cat(found)


def test_batched_references_are_those_of_one_clip_at_a_time(tmp_path) -> None:
    network = Counting()
    embedder = Embedder(Evaluator("c", network), split(70), cache=tmp_path)
    items = draw(split(70), PROTOCOL, 3)
    assert torch.allclose(embedder.reference(items, "coin/3"), one_by_one(items), atol=1e-6)
    assert network.motions == [32, 32, 6]


def test_a_crop_is_embedded_once() -> None:
    network = Counting()
    embedder = Embedder(Evaluator("c", network), split(30))
    crops = set()
    for seed in range(20):
        items = draw(split(30), PROTOCOL, seed)
        assert torch.allclose(embedder.reference(items, f"coin/{seed}"), one_by_one(items), atol=1e-6)
        crops |= {(item.number, item.start, item.clip.num_frames) for item in items}
    assert sum(network.motions) == len(crops) < 30 * 20 / 2


def test_the_cache_answers_without_the_network(tmp_path) -> None:
    items = draw(split(), PROTOCOL, 3)
    first = Embedder(Evaluator("c", Counting()), split(), cache=tmp_path).reference(items, "coin/3")
    network = Counting()
    again = Embedder(Evaluator("c", network), split(), cache=tmp_path)
    assert torch.equal(again.reference(items, "coin/3"), first)
    assert network.motions == []
    other = draw(split(), PROTOCOL, 4)
    again.reference(other, "coin/4")
    assert 0 < sum(network.motions) < len(other)  # some crops are those of seed 3


def test_another_split_mode_or_evaluator_is_another_entry(tmp_path) -> None:
    items = draw(split(), PROTOCOL, 3)
    Embedder(Evaluator("c", Counting()), split(), cache=tmp_path).reference(items, "coin/3")
    for clip_set, mode, fingerprint in ((split(41), "strict", "c0ffee"), (split(), "upstream", "c0ffee"),
                                        (split(), "strict", "decaf")):  # fmt: skip
        network = Counting()
        network.fingerprint = lambda value=fingerprint: value
        Embedder(Evaluator("c", network), clip_set, mode, tmp_path).reference(draw(clip_set, PROTOCOL, 3), "coin/3")
        assert network.motions


def test_a_damaged_cache_file_is_made_again(tmp_path) -> None:
    items = draw(split(), PROTOCOL, 3)
    first = Embedder(Evaluator("c", Counting()), split(), cache=tmp_path).reference(items, "coin/3")
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(b"half of it")
    assert torch.equal(Embedder(Evaluator("c", Counting()), split(), cache=tmp_path).reference(items, "coin/3"), first)


def test_captions_are_embedded_once_per_split(tmp_path) -> None:
    network = Counting()
    embedder = Embedder(Evaluator("c", network), split(), cache=tmp_path)
    for seed in range(5):
        items = draw(split(), PROTOCOL, seed)
        found = embedder.texts([item.caption for item in items])
        expected = network.embed_text([item.caption for item in items])
        network.texts.pop()
        assert torch.equal(found, expected)
    assert sum(network.texts) == 80  # two captions of 40 clips


def test_motions_that_are_broken_short_or_long() -> None:
    embedder = Embedder(Evaluator("c", Counting()), split())
    good = clips(1)[0].features
    broken = good.clone()
    broken[3, 5] = torch.inf
    found = embedder.motions([good, broken, good[:3], good[:0], torch.cat((good, good))])
    assert found.isfinite().all(1).tolist() == [True, False, True, False, True]
    held = torch.cat((good[:3], good[2:3].expand(5, -1)))
    assert torch.allclose(found[2], held.mean(0) @ embedder.network.weight.detach(), atol=1e-6)


def test_an_empty_answer_is_a_wrong_one() -> None:
    embedder = Embedder(Evaluator("c", Counting()), split())
    found = embedder.answers(["a bad cab", "  ", "a bad cab"])
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], embedder.network.embed_text([EMPTY])[0])


def test_the_mean_pose_stands_still() -> None:
    representation = get_representation("humanml3d")
    row = mean_pose([clip.features for clip in clips(6)], "humanml3d")
    motion = representation.decode(row.expand(30, -1))
    assert float(motion.joints.diff(dim=0).abs().max()) < 1e-5


@pytest.fixture(scope="module")
def replication() -> Replication:
    return Replication(split(70), PROTOCOL, 0)


def test_the_own_motions_score_as_the_real_row(replication: Replication) -> None:
    embedder = Embedder(Evaluator("c", Counting()), split(70))
    real = rows.real_row(embedder, replication)
    own = {place: item.clip.features for place, item in enumerate(replication.items)}
    found = rows.motion_row(("matching", "distribution"), embedder, replication, own)
    assert found["FID"].value == pytest.approx(0, abs=1e-6)
    for name in ("R_precision_top_1", "Matching_score", "all/t2m/R01"):
        assert found[name].value == pytest.approx(real[name].value)
    said = {place: item.caption.text for place, item in enumerate(replication.items)}
    assert rows.text_row(embedder, replication, said)["Matching_score"].value == real["Matching_score"].value


def test_a_broken_answer_costs_its_metrics_and_is_named(replication: Replication) -> None:
    embedder = Embedder(Evaluator("c", Counting()), split(70))
    own = {place: item.clip.features for place, item in enumerate(replication.items)}
    own[17] = own[17] * torch.nan
    found = rows.motion_row(("matching", "distribution"), embedder, replication, own)
    for name in ("R_precision_top_1", "FID", "all/t2m/R01"):
        assert found[name].value is None
        assert "17" in found[name].reason
    assert found["Diversity"].value is None


def test_empty_captions_are_counted_in_a_note(replication: Replication) -> None:
    embedder = Embedder(Evaluator("c", Counting()), split(70))
    said = {place: "" if place < 3 else "a person" for place in range(70)}
    found = rows.text_row(embedder, replication, said)
    assert found["R_precision_top_1"].value is not None
    assert found["R_precision_top_1"].note.startswith("3 empty captions")


def test_controls_leave_the_captions_and_the_motions_apart(replication: Replication) -> None:
    embedder = Embedder(Evaluator("c", Counting()), split(70))
    still = rows.control_row(rows.MEAN_POSE, embedder, replication)
    assert still["FID"].value > 1e-3
    moved = rows.control_row(rows.SHUFFLED, embedder, replication)
    assert "FID" not in moved
    assert moved["Matching_score"].value != rows.real_row(embedder, replication)["Matching_score"].value


def test_multimodality_of_equal_repeats_is_nothing() -> None:
    embedder = Embedder(Evaluator("c", Counting()), split())
    same = {number: [clip.features] * 30 for number, clip in enumerate(clips(4))}
    found = rows.multimodality(embedder, 0, same, 100)["MultiModality"]
    assert found.value == pytest.approx(0, abs=1e-6)
    assert "4 captions instead of 100" in found.note
    few = rows.multimodality(embedder, 0, {0: [clips(1)[0].features] * 5}, 0)["MultiModality"]
    assert few.value is None
    assert few.reason


def test_sentences_are_those_of_the_evaluators_text_encoder() -> None:
    """Retrieval finds captions that mean the same by them, in `python -m test` with the bundled evaluators, too."""
    network = Counting()
    network.sentences = BertEncoder(MINILM)
    embedder = Embedder(Evaluator("c", network), split(2))
    same, other = Caption("a person walks."), Caption("a man does a handstand.")
    found = embedder.sentences([same, other, same])
    alone = network.sentences.encode([other.text])[0].sentence
    assert found.shape == (3, 384) and torch.equal(found[0], found[2])
    assert torch.allclose(found[1], alone) and found[0] @ found[1] < 0.9
    del network.sentences
    assert embedder.sentences([same]) is None
