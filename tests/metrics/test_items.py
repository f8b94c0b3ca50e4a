"""Item metrics: order, repetitions, batches and processes change nothing; too few or broken items give a reason."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest
import torch

from mld.errors import DataError
from mld.metrics.captions import CaptionScores
from mld.metrics.completion import CompletionErrors
from mld.metrics.embedding_scores import DistributionDistance, Diversity, MultiModality, RPrecision
from mld.metrics.items import ItemMetric
from mld.metrics.joints import JointErrors
from mld.metrics.retrieval import Retrieval
from tests.processes import together

ITEMS, WIDTH = 41, 6


def data() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    text = normal(ITEMS, WIDTH)
    return {
        "text": text,
        "motion": text + 0.5 * normal(ITEMS, WIDTH),
        "other": text + normal(ITEMS, WIDTH),
        "repeats": normal(ITEMS, 12, WIDTH),
        "sentence": normal(ITEMS, 4),
        "predicted": normal(ITEMS, 9, 22, 3),
        "joints": normal(ITEMS, 9, 22, 3),
        "mask": torch.arange(9) < torch.randint(3, 10, (ITEMS, 1), generator=generator),
    }


def captions(rows: list[int]) -> tuple[list[str], list[list[str]]]:
    said = [f"a person walks {row % 5} steps and läuft" for row in rows]
    return said, [[f"a person walks {row % 3} steps", "someone walks"] for row in rows]


def metrics() -> dict[str, ItemMetric]:
    return {
        "retrieval in groups": RPrecision(group_size=8),
        "distribution": DistributionDistance(),
        "diversity": Diversity(pairs=20),
        "multimodality": MultiModality(),
        "retrieval": Retrieval(("all", "threshold", "guo")),
        "joints": JointErrors(),
        "completion": CompletionErrors("pred"),
        "captions": CaptionScores(python=None),
    }


def feed(found: dict[str, ItemMetric], rows: list[int]) -> None:
    """Update all metrics with some rows of the data."""
    d = {name: column[rows] for name, column in data().items()}
    found["retrieval in groups"].update(d["text"], d["motion"], rows)
    found["distribution"].update(d["other"], d["motion"], rows)
    found["diversity"].update(d["motion"], rows)
    found["multimodality"].update(d["repeats"], rows)
    found["retrieval"].update(d["text"], d["motion"], rows, d["sentence"])
    found["joints"].update(d["predicted"], d["joints"], d["mask"], rows)
    found["completion"].update(d["predicted"], d["joints"], d["mask"], rows)
    found["captions"].update(*captions(rows), ids=rows)


def values(found: dict[str, ItemMetric]) -> dict[str, float]:
    return {
        f"{kind}: {name}": value.item() for kind, metric in found.items() for name, value in metric.compute().items()
    }


def whole() -> dict[str, float]:
    found = metrics()
    feed(found, list(range(ITEMS)))
    return values(found)


def test_order_batches_and_repetitions_change_nothing() -> None:
    found = metrics()
    order = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(1)).tolist()
    for start in range(0, ITEMS, 7):
        feed(found, order[start : start + 7])
    feed(found, order[:5])  # what a distributed sampler repeats
    expected = whole()
    assert values(found) == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert sum(math.isfinite(value) for value in expected.values()) > 40


def _rank(rank: int, folder: Path) -> None:
    uneven = metrics()
    rows = list(range(rank, ITEMS, 2)) + [0]  # the second rank repeats the first item to be as long as the other
    for start in range(0, len(rows), 8):
        feed(uneven, rows[start : start + 8])
    idle = metrics()  # the second rank got nothing at all
    if rank == 0:
        feed(idle, list(range(ITEMS)))
    found = {"uneven": values(uneven), "idle": values(idle)}
    found["scores"] = {name: score.value for name, score in uneven["joints"].scores(draws=20).items()}
    try:
        Diversity().update(torch.zeros(2, 3))
    except DataError as error:
        found["without ids"] = str(error)
    torch.save(found, folder / f"{rank}.pt")


def test_two_processes_equal_one(tmp_path) -> None:
    together(_rank, tmp_path)
    expected = whole()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in expected.items():
            for case in ("uneven", "idle"):
                assert found[case][name] == pytest.approx(value, rel=1e-12, nan_ok=True), (rank, case, name)
        assert found["scores"]["MPJPE"] == expected["joints: MPJPE"]
        assert "ids" in found["without ids"]


def test_nothing_measured_is_a_reason_for_every_result() -> None:
    for metric in metrics().values():
        scores = metric.scores(draws=10)
        assert scores
        for score in scores.values():
            assert score.value is None
            assert "no item" in score.reason or "needs" in score.reason
        with warnings.catch_warnings():  # torchmetrics says that nothing was updated
            warnings.simplefilter("ignore", UserWarning)
            assert all(math.isnan(value) for value in metric.compute().values())


def test_few_items_cost_only_the_metrics_that_need_more() -> None:
    found = metrics()
    feed(found, list(range(6)))
    scores = {name: score for metric in found.values() for name, score in metric.scores().items()}
    for name, needed in (("R_precision_top_1", "8"), ("Diversity", "20"), ("guo/t2m/R01", "32")):
        assert scores[name].value is None
        assert needed in scores[name].reason
    for name in ("FID", "KID", "MultiModality", "all/t2m/R01", "MPJPE", "ADE", "BLEU_1"):
        assert scores[name].value is not None
    assert "biased" in scores["FID"].note


def test_a_broken_item_is_named_and_spares_the_other_metrics() -> None:
    found = metrics()
    feed(found, list(range(ITEMS)))
    d = data()
    broken = d["motion"][:1] * torch.nan
    found["diversity"].update(broken, [77])
    found["distribution"].update(broken, d["motion"][:1], [77])
    found["joints"].update(d["joints"][:1] * torch.nan, d["joints"][:1], d["mask"][:1], [77])
    for kind, name in (("diversity", "Diversity"), ("distribution", "FID"), ("joints", "MPJPE")):
        score = found[kind].scores(draws=5)[name]
        assert score.value is None
        assert "77" in score.reason
        assert "not finite" in score.reason
    assert found["multimodality"].scores()["MultiModality"].value is not None


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="3 generated, 2 reference"):
        DistributionDistance().update(torch.zeros(3, 2), torch.zeros(2, 2))
    with pytest.raises(DataError, match="1 ids for 3 rows"):
        Diversity().update(torch.zeros(3, 2), [4])
    with pytest.raises(DataError, match="captions, repeats"):
        MultiModality().update(torch.zeros(3, 2))


def test_reset_forgets() -> None:
    metric = Diversity(pairs=2)
    metric.update(torch.randn(5, 3))
    metric.reset()
    metric.update(torch.zeros(4, 3))
    assert metric.scores()["Diversity"].n == 4
    assert metric.scores()["Diversity"].value == 0
