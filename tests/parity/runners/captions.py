"""Parity runner of the caption metrics."""

from __future__ import annotations

from typing import Any

from mld.metrics.captions.bleu import ORDERS, bleu, brevity_penalty, counts, precisions
from mld.metrics.captions.cider import cider_d
from mld.metrics.captions.rouge import rouge_l
from mld.metrics.captions.scores import CaptionScores
from mld.metrics.captions.text import normalise, rouge_words
from tests.parity.harness import Case, runner

Texts = tuple[list[str], list[list[str]]]


@runner("evaluation.linguistic")
def linguistic(case: Case) -> dict[str, Any]:
    """The scorers against every stored number; the metric object must give the same ones."""
    raw = case.arrays["predictions"], case.arrays["references"]
    ptb = case.arrays["coco_ptb/tokenized_predictions"], case.arrays["coco_ptb/tokenized_references"]
    f1 = rouge_l(*_words(raw, rouge_words), "metricverse")
    cider = cider_d(*_words(raw, str.split))
    found = _metricverse_bleu(raw) | _coco(raw, "coco_raw_whitespace") | _coco(ptb, "coco_ptb")
    found |= {
        "nlgmetricverse_0.9.9/rouge/rougeL": f1.mean(),
        "nlgmetricverse_0.9.9/cider": {"score": float(cider.mean()), "scores": cider.tolist()},
        "plain_rougeL_mean_of_max": f1.mean(),
        "plain_rougeL_per_item": f1,
    }
    _check_object(raw, found)
    return found


def _words(texts: Texts, split) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [split(text) for text in texts[0]], [[split(text) for text in several] for several in texts[1]]


def _metricverse_bleu(texts: Texts) -> dict[str, Any]:
    total = counts(*_words(texts, lambda text: normalise(text).split()), "metricverse").sum(0)
    said, expected = int(total[-2]), int(total[-1])
    scores, shares = bleu(total, "metricverse"), precisions(total)
    return {
        f"nlgmetricverse_0.9.9/bleu_{order}": {
            "score": float(scores[order - 1]),
            "precisions": shares[:order].tolist(),
            "brevity_penalty": float(brevity_penalty(total[-2] / total[-1])),
            "length_ratio": said / expected,
            "translation_length": said,
            "reference_length": expected,
        }
        for order in range(1, ORDERS + 1)
    }


def _coco(texts: Texts, name: str) -> dict[str, Any]:
    words = _words(texts, str.split)
    scores = bleu(counts(*words, "coco").sum(0), "coco")
    rouge, cider = rouge_l(*words, "coco"), cider_d(*words)
    found = {f"Bleu_{order}": score for order, score in enumerate(scores, start=1)}
    found |= {"ROUGE_L": rouge.mean(), "ROUGE_L_per_item": rouge, "CIDEr": cider.mean(), "CIDEr_per_item": cider}
    return {f"{name}/{key}": value for key, value in found.items()}


def _check_object(texts: Texts, found: dict[str, Any]) -> None:
    metric = CaptionScores(("metricverse-raw", "coco-raw"), java=False, python=None)
    metric.update(*texts)
    values = {key: float(value) / 100 for key, value in metric.compute().items()}
    expected = {
        "BLEU_4": found["nlgmetricverse_0.9.9/bleu_4"]["score"],
        "ROUGE_L": found["plain_rougeL_mean_of_max"],
        "CIDEr": found["nlgmetricverse_0.9.9/cider"]["score"],
        "coco-raw/BLEU_4": found["coco_raw_whitespace/Bleu_4"],
        "coco-raw/ROUGE_L": found["coco_raw_whitespace/ROUGE_L"],
    }
    for key, value in expected.items():
        assert abs(values[key] - float(value)) < 1e-9, key
