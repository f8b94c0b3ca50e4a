"""Runs inside the nlg-metricverse environment, never imported by the toolkit: reads captions as JSON from stdin and
prints the scores as one line of JSON. A metric that fails gives a sentence instead of a number."""

from __future__ import annotations

import json
import os
import sys
import types
from importlib import metadata

BLEU_ORDERS = (1, 2, 3, 4)


def load():
    """The package without its pictures: its visualisation module fetches a language model when it is imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name = "nlgmetricverse.visualization"
    if name not in sys.modules:
        stub = types.ModuleType(name)
        stub.__path__ = []
        sys.modules[name] = stub
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
    scores, errors = {}, {}
    for name, (make, (result, key)) in wanted(package).items():
        try:
            answer = package.NLGMetricverse(metrics=[make()])(predictions=predictions, references=references)
            scores[name] = float(answer[result][key])
        except Exception as error:  # a metric of a foreign package may fail in any way; the others still count
            errors[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return {"version": metadata.version("nlg-metricverse"), "scores": scores, "errors": errors}


def main() -> None:
    request = json.load(sys.stdin)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the package prints is no answer
    found = score(load(), request["predictions"], request["references"])
    print(json.dumps(found), file=answers)


if __name__ == "__main__":
    main()
