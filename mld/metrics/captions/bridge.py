"""Runs inside the nlg-metricverse environment, never imported by the toolkit: reads captions as JSON from stdin and
prints the scores as one line of JSON. A metric that fails gives a sentence instead of a number."""

from __future__ import annotations

import json
import os
import re
import sys
import types
from importlib import metadata

BLEU_ORDERS = (1, 2, 3, 4)
SEED = 0
LONGEST = 100  # letters of a message
PICTURES = ("n_gram_distance", "similarity_word_matching", "correlation_visualization")


def load():
    """The package without its pictures, which fetch a language model as soon as they are imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in PICTURES:
        stub = types.ModuleType(name)
        stub.__getattr__ = lambda attribute: None
        sys.modules[f"nlgmetricverse.visualization.{name}"] = stub
    import nlgmetricverse

    return nlgmetricverse


def wanted(package) -> dict:
    """Result name -> (function that loads its metric, path to the number in the answer)."""
    table = {
        f"BLEU_{order}": (
            lambda order=order: package.load_metric(
                "bleu", resulting_name=f"bleu_{order}", compute_kwargs={"max_order": order}
            ),
            (f"bleu_{order}", "score"),
        )
        for order in BLEU_ORDERS
    }
    for name, metric, key in (
        ("ROUGE_L", "rouge", "rougeL"),
        ("METEOR", "meteor", "score"),
        ("CIDEr", "cider", "score"),
    ):
        table[name] = (lambda metric=metric: package.load_metric(metric), (metric, key))
    return table


def score(package, predictions: list, references: list) -> dict:
    import numpy

    scores, errors = {}, {}
    for name, (make, (result, key)) in wanted(package).items():
        numpy.random.seed(SEED)  # ROUGE draws resamples; without a seed its value changes from run to run
        try:
            answer = package.NLGMetricverse(metrics=[make()])(predictions=predictions, references=references)
            scores[name] = float(answer[result][key])
        except Exception as error:  # a metric of a foreign package may fail in any way; the others still count
            errors[name] = f"{type(error).__name__}: {_sentence(error)}"
    return {"version": metadata.version("nlg-metricverse"), "scores": scores, "errors": errors}


def _sentence(error: Exception) -> str:
    """The first line that says something, cut to `LONGEST`."""
    lines = [line.strip(" *") for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    first = next((line for line in lines if line), "no message")
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."


def main() -> None:
    request = json.load(sys.stdin)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the package prints is no answer
    found = score(load(), request["predictions"], request["references"])
    print(json.dumps(found), file=answers)


if __name__ == "__main__":
    main()
