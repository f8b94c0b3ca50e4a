"""Embedding metrics on sets whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mld.errors import DataError
from mld.metrics import embeddings


def test_perfect_retrieval() -> None:
    rows = torch.randn(70, 8)
    assert embeddings.r_precision(rows, rows).tolist() == [1.0, 1.0, 1.0]
    assert embeddings.matching_score(rows, rows).item() == pytest.approx(0.0, abs=1e-6)


def test_retrieval_stays_within_its_group() -> None:
    """A better match in another group does not count against a row."""
    text = torch.eye(4).repeat(2, 1)
    motion = torch.eye(4).repeat(2, 1)
    assert embeddings.r_precision(text, motion, group_size=4, top_k=1).item() == 1.0


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
    with pytest.raises(DataError, match="group"):
        embeddings.r_precision(torch.randn(5, 2), torch.randn(5, 2))
    with pytest.raises(DataError, match="two"):
        embeddings.fid(torch.randn(1, 2), torch.randn(5, 2))
