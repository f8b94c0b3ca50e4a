"""Intervals hold what they promise, and the paired test sees a real difference and no other."""

from __future__ import annotations

import pytest
import torch

from mld.errors import DataError
from mld.metrics.embedding_scores import DistributionDistance, RPrecision
from mld.metrics.uncertainty import PerItem, bootstrap_mean, compare, compare_all, jackknife, resamples


def shares(values: torch.Tensor, weights: torch.Tensor | None = None) -> PerItem:
    weights = torch.ones(len(values)) if weights is None else weights
    return PerItem(torch.arange(len(values)), values.double(), weights.double())


def test_bootstrap_covers_the_mean_about_95_times_in_100() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for trial in range(200):
        values = torch.randn(60, generator=generator) + 3
        low, high = bootstrap_mean(shares(values), draws=300, seed=trial)
        covered += low < 3 < high
    assert 0.89 <= covered / 200 <= 0.985


def test_bootstrap_width_is_that_of_the_normal_interval() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    low, high = bootstrap_mean(shares(values))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.1)
    assert bootstrap_mean(shares(values)) == (low, high)


def test_items_of_weight_zero_do_not_count() -> None:
    values, weights = torch.tensor([1.0, 2.0, 99.0, 3.0]), torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert shares(values, weights).value == 2.0
    low, high = bootstrap_mean(shares(values, weights), draws=200)
    assert 1.0 <= low <= high <= 3.0
    assert bootstrap_mean(shares(values[:1])) is None


def test_strata_keep_their_sizes() -> None:
    strata = torch.tensor([0] * 5 + [1] * 20)
    for rows in resamples(25, 50, 0, strata):
        assert ((rows < 5).sum(1) == 5).all()


def test_paired_test_sees_a_small_difference_on_shared_items() -> None:
    generator = torch.Generator().manual_seed(2)
    difficulty = 5 * torch.randn(200, generator=generator)
    better = difficulty - 0.2 + 0.3 * torch.randn(200, generator=generator)
    found = compare(shares(difficulty), shares(better), draws=500)
    assert found.difference == pytest.approx(-0.2, abs=0.07)
    assert found.interval[0] < found.difference < found.interval[1] < 0
    assert found.p_value < 0.01
    assert found.n == 200


def test_paired_test_of_equal_models_is_rarely_significant() -> None:
    generator = torch.Generator().manual_seed(3)
    p_values = []
    for trial in range(60):
        first, second = torch.randn(2, 40, generator=generator)
        p_values.append(compare(shares(first), shares(second), draws=99, seed=trial).p_value)
    assert sum(p < 0.05 for p in p_values) <= 8
    assert 0.3 < sum(p_values) / 60 < 0.7
    same = compare(shares(torch.arange(9.0)), shares(torch.arange(9.0)))
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_only_shared_items_are_compared() -> None:
    first = PerItem(torch.tensor([1, 2, 3, 4]), torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.ones(4))
    second = PerItem(torch.tensor([9, 4, 3, 2]), torch.tensor([99.0, 5.0, 4.0, 3.0]), torch.ones(4))
    assert (compare(first, second).difference, compare(first, second).n) == (1.0, 3)
    with pytest.raises(DataError, match="at least 2"):
        compare(first, PerItem(torch.tensor([1]), torch.ones(1), torch.ones(1)))


def test_models_are_compared_by_metric() -> None:
    generator = torch.Generator().manual_seed(4)
    text = torch.randn(96, 8, generator=generator)
    models = []
    for noise in (3.0, 0.3):
        metric = RPrecision()
        metric.update(text, text + noise * torch.randn(96, 8, generator=generator))
        models.append(metric.per_item(metric.items()))
    found = compare_all(*models, draws=200)
    assert found["R_precision_top_1"].difference > 0.3
    assert found["R_precision_top_1"].p_value < 0.01
    assert found["Matching_score"].difference < 0


def test_jackknife_of_a_mean_is_the_normal_interval() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(5)).double()
    low, high = jackknife(lambda rows: {"mean": float(values[rows].mean())}, 400, blocks=50)["mean"]
    assert (low + high) / 2 == pytest.approx(values.mean().item())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.3)
    assert jackknife(lambda rows: {"mean": 0.0}, 10)["mean"] is None


def test_fid_has_an_interval_around_its_value() -> None:
    generator = torch.Generator().manual_seed(6)
    metric = DistributionDistance()
    metric.update(torch.randn(200, 4, generator=generator) + 1, torch.randn(200, 4, generator=generator))
    score = metric.scores(draws=10)["FID"]
    assert score.interval[0] < score.value < score.interval[1]
    assert score.interval[0] > 1
