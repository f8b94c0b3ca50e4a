"""Embedding metrics on sets whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mld.errors import DataError
from mld.metrics import embeddings
from mld.metrics.embedding_scores import Diversity


def test_perfect_retrieval() -> None:
    rows = torch.randn(70, 8)
    assert embeddings.r_precision(rows, rows).tolist() == [1.0, 1.0, 1.0]
    assert embeddings.matching_score(rows, rows).item() == pytest.approx(0.0, abs=1e-6)


def test_retrieval_stays_within_its_group() -> None:
    """A better match in another group does not count against a row."""
    text = torch.eye(4).repeat(2, 1)
    motion = torch.cat((0.9 * torch.eye(4), torch.eye(4)))
    assert embeddings.r_precision(text, motion, group_size=4, top_k=1).item() == 1.0
    assert embeddings.r_precision(text, motion, group_size=8, top_k=1).item() == 0.5


def test_shifted_pairs_are_second() -> None:
    motion = torch.arange(32.0)[:, None]
    assert embeddings.r_precision(motion + 0.9, motion, top_k=2).tolist()[0] == pytest.approx(1 / 32)


def test_fid_of_shifted_gaussians_is_the_squared_shift() -> None:
    rows = torch.randn(400, 5, dtype=torch.float64)
    shift = torch.tensor([1.0, 0.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    assert embeddings.fid(rows, rows).item() == pytest.approx(0.0, abs=1e-9)
    assert embeddings.fid(rows + shift, rows).item() == pytest.approx(5.0, rel=1e-9)
    assert embeddings.fid(2 * rows, rows).item() == pytest.approx(
        (torch.cov(rows.T).trace() + (rows.mean(0) ** 2).sum()).item(), rel=1e-6
    )


def test_pairs_are_those_of_the_published_generator() -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.choice(50, 20, replace=False), np.random.choice(50, 20, replace=False)
    first, second = embeddings.random_pairs(50, 20, 7)
    assert (first.numpy() == expected[0]).all()
    assert (second.numpy() == expected[1]).all()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="300"):
        embeddings.random_pairs(10, 300, 0)
    with pytest.raises(DataError, match="matching rows"):
        embeddings.r_precision(torch.randn(33, 2), torch.randn(32, 2))
    with pytest.raises(DataError, match="group"):
        embeddings.r_precision(torch.randn(5, 2), torch.randn(5, 2))
    with pytest.raises(DataError, match="two"):
        embeddings.fid(torch.randn(1, 2), torch.randn(5, 2))


def test_recall_grows_with_k_and_ignores_the_order_within_a_group() -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(32, 6, generator=generator)
    motion = text + torch.randn(32, 6, generator=generator)
    found = embeddings.r_precision(text, motion, top_k=10)
    assert found.tolist() == sorted(found.tolist())
    order = torch.randperm(32, generator=generator)
    torch.testing.assert_close(embeddings.r_precision(text[order], motion[order], top_k=10), found)


def test_a_collapsed_model_is_at_chance_in_both_modes() -> None:
    text, motion = torch.randn(64, 6), torch.ones(64, 6)
    for mode in ("strict", "upstream"):
        assert embeddings.r_precision(text, motion, mode=mode).tolist() == pytest.approx([1 / 32, 2 / 32, 3 / 32])


def test_motions_of_one_label_count_as_right() -> None:
    text = torch.eye(4)
    motion = text[[1, 0, 3, 2]]
    assert embeddings.r_precision(text, motion, 4, 1).item() == 0.0
    assert embeddings.r_precision(text, motion, 4, 1, labels=torch.tensor([0, 0, 1, 1])).item() == 1.0


def test_cosine_ignores_length() -> None:
    rows = torch.randn(32, 6)
    assert embeddings.r_precision(5 * rows, rows, metric="cosine")[0].item() == 1.0
    assert embeddings.distances(rows, 3 * rows, "cosine").diagonal().abs().max() < 1e-12
    assert embeddings.distances(rows[:1], -rows[:1], "cosine").item() == pytest.approx(2.0)


def test_distribution_distances_ignore_the_order_and_grow_with_the_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    real, model = torch.randn(2, 300, 5, generator=generator)
    order = torch.randperm(300, generator=generator)
    for distance in (embeddings.fid, embeddings.polynomial_mmd):
        torch.testing.assert_close(distance(model[order], real), distance(model, real))
        near, far = distance(model + 0.3, real), distance(model + 1.0, real)
        assert distance(model, real) < near < far
    assert embeddings.fid(real[:3], real[:3]).item() == pytest.approx(0.0, abs=1e-9)


def test_kernel_distance_by_hand() -> None:
    """Kernel (x.y / 2 + 1)^3 of (0, 0), (1, 1) and (0, 0), (2, 2): 1 within each set, (1 + 1 + 1 + 27) / 4 between."""
    first, second = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    assert embeddings.polynomial_mmd(first, second).item() == pytest.approx(1 + 1 - 2 * 7.5)


def test_kid_is_unbiased_and_seeded() -> None:
    generator = torch.Generator().manual_seed(0)
    real, model = torch.randn(2, 400, 5, generator=generator)
    values = embeddings.kid(model, real, subsets=10, subset_size=100)
    assert values.shape == (10,)
    assert abs(values.mean()) < 0.05
    assert torch.equal(values, embeddings.kid(model, real, subsets=10, subset_size=100))
    assert embeddings.kid(model, real).shape == (1,)
    with pytest.raises(DataError, match="two"):
        embeddings.kid(model[:1], real)


def test_diversity_of_few_motions_is_upstream_only() -> None:
    rows = torch.randn(150, 4)
    for mode, pairs in (("strict", None), ("upstream", 100)):
        metric = Diversity(seed=3, mode=mode)
        metric.update(rows)
        score = metric.scores()["Diversity"]
        if pairs is None:
            assert score.value is None
        else:
            first, second = embeddings.random_pairs(150, pairs, 3)
            assert score.value == pytest.approx(embeddings.diversity(rows, first, second).item())
