"""Retrieval protocols: known ranks, ties, labels, subsets."""

from __future__ import annotations

import pytest
import torch

from mld.errors import DataError
from mld.metrics import retrieval
from mld.metrics.retrieval import Retrieval


def embedded(count: int = 70, noise: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(count, 8, generator=generator)
    return text, text + noise * torch.randn(count, 8, generator=generator)


def test_ranks_by_hand() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.5, 0.5, 0.5]])
    assert retrieval.ranks(similarity).tolist() == [0.0, 1.0, 1.0]
    summary = retrieval.summary(torch.tensor([0.0, 1.0, 1.0]))
    assert summary["R01"] == pytest.approx(100 / 3)
    assert (summary["R02"], summary["MedR"]) == (100.0, 2.0)


def test_the_best_right_item_counts() -> None:
    similarity = torch.tensor([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.1, 0.9, 0.5]])
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert retrieval.ranks(similarity, same).tolist() == [0.0, 0.0, 1.0]


def test_identical_rows_are_found_and_recall_grows_with_k() -> None:
    text, motion = embedded()
    perfect = retrieval.both_ways(retrieval.cosine_similarities(text, text))
    assert {perfect["t2m/R01"], perfect["m2t/R01"]} == {100.0}
    assert perfect["t2m/MedR"] == 1.0
    found = retrieval.both_ways(retrieval.cosine_similarities(text, motion))
    recalls = [found[f"t2m/R{k:02d}"] for k in retrieval.RANKS]
    assert recalls == sorted(recalls)
    assert 0 < recalls[0] < recalls[-1]


def test_a_model_that_always_says_the_same_is_at_chance() -> None:
    text, _ = embedded(64)
    metric = Retrieval(("all", "guo"))
    metric.update(text, torch.ones(64, 8))
    found = {name: score.value for name, score in metric.scores().items()}
    assert found["all/t2m/R10"] == 0
    assert found["all/t2m/MedR"] == pytest.approx(32.5)


def test_same_labels_make_it_easier_and_small_groups_too() -> None:
    text, motion = embedded()
    plain, labelled = Retrieval(("all", "guo")), Retrieval(("all", "guo"))
    plain.update(text, motion)
    labelled.update(text, motion, labels=torch.arange(70) % 3)
    plain, labelled = plain.compute(), labelled.compute()
    assert labelled["all/t2m/R01"] > plain["all/t2m/R01"]
    assert labelled["all/t2m/MedR"] <= plain["all/t2m/MedR"]
    assert labelled["guo/t2m/R01"] > plain["guo/t2m/R01"] > plain["all/t2m/R01"]


def test_captions_count_as_the_same_from_a_cosine_of_nine_tenths() -> None:
    near, far = (torch.tensor([cosine, (1 - cosine**2) ** 0.5]) for cosine in (0.91, 0.89))
    first = torch.tensor([1.0, 0.0])
    assert retrieval.same_sentence(torch.stack([first, near]), 0.95).all()
    assert torch.equal(retrieval.same_sentence(torch.stack([first, far]), 0.95), torch.eye(2, dtype=torch.bool))


def test_motions_of_the_same_sentence_are_right_with_a_threshold() -> None:
    text, sentences = torch.eye(6), torch.eye(3).repeat_interleave(2, 0)
    metric = Retrieval(("all", "threshold"))
    metric.update(text, text[[1, 0, 3, 2, 5, 4]], sentences=sentences)  # each finds its twin
    found = metric.compute()
    assert (found["all/t2m/R01"], found["threshold/t2m/R01"], found["threshold/m2t/R01"]) == (0.0, 100.0, 100.0)


def test_groups_are_full_and_count_alike() -> None:
    similarity = torch.eye(7)
    similarity[:2, :2] = 1 - similarity[:2, :2]  # the first two are taken for each other
    found = retrieval.in_groups(similarity, torch.arange(7), group_size=2)
    assert found["t2m/R01"] == pytest.approx(200 / 3)
    right = torch.eye(7, dtype=torch.bool)
    right[:2, :2] = True
    assert retrieval.in_groups(similarity, torch.arange(7), right, group_size=2)["t2m/R01"] == 100


def test_dissimilar_items() -> None:
    sentences = torch.eye(5).repeat_interleave(4, 0) + 0.001 * torch.randn(20, 5)
    assert (retrieval.dissimilar_items(sentences, 5) // 4).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="100"):
        retrieval.dissimilar_items(sentences)


def test_nsim_takes_the_published_list() -> None:
    text, motion = embedded()
    metric = Retrieval(("nsim",), nsim_ids=range(0, 70, 2))
    metric.update(text, motion, sentences=torch.randn(70, 4))
    assert metric.scores()["nsim/t2m/R01"].n == 35


def test_missing_sentences_cost_only_the_protocols_that_need_them() -> None:
    text, motion = embedded()
    metric = Retrieval()
    metric.update(text, motion)
    scores = metric.scores()
    assert scores["all/t2m/R01"].value is not None
    assert scores["threshold/t2m/R01"].value is None
    assert "sentence" in scores["nsim/m2t/MedR"].reason


def test_upstream_rounds_to_two_decimals() -> None:
    text, motion = embedded()
    found = {}
    for mode in ("strict", "upstream"):
        metric = Retrieval(("all",), mode)
        metric.update(text, motion)
        found[mode] = metric.scores()["all/t2m/R03"].value
    assert found["upstream"] == round(found["strict"], 2)
    with pytest.raises(DataError, match="normal"):
        Retrieval(("normal",))
