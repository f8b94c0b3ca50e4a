"""The rows that need no model: the real motions, and controls that must be bad.

They come before a model has answered anything, so that a wrong evaluator is seen at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mld.evaluation import expected, rows
from mld.evaluation.draws import Replication
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluation import Entries, Evaluation, bootstrap_samples, prefixed
from mld.evaluation.pace import Pace
from mld.evaluation.rows import CONTROLS, REAL, Scores
from mld.evaluation.state import RunState
from mld.metrics import ranks


def reference_rows(evaluation: Evaluation, state: RunState) -> dict[str, Entries]:
    """The real row and the controls, by name; nothing without an evaluator."""
    settings = evaluation.settings
    names = (REAL, *(CONTROLS if settings.controls else ())) if evaluation.embedders else ()
    pace = Pace("real motions", settings.replications * len(names), "row", settings.progress, warm_up=len(names))
    found: dict[str, list[Scores]] = {name: [] for name in names}
    for number in range(settings.replications if names else 0):
        replication = evaluation.replication(number)
        for name in names:
            done = state.get(name, number) is not None
            make = partial(_row, name, evaluation.embedders, replication, bootstrap_samples(number))
            found[name].append(state.finished(name, number, replication.seed, make))
            if done:
                pace.skip(1)
            else:
                pace.update(1, together=True)
    pace.close()
    return {name: evaluation.entries(passes, name) for name, passes in found.items()}


def _row(name: str, embedders: Sequence[Embedder], replication: Replication, draws: int) -> Scores:
    found: Scores = {}
    for embedder in embedders:
        if name == REAL:
            found |= prefixed(embedder, rows.real_row(embedder, replication, draws))
        else:
            found |= prefixed(embedder, rows.control_row(name, embedder, replication, draws))
    return found


def check_real_row(evaluation: Evaluation, real: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare the real row with what each evaluator is known to give, and warn; record it as that where wanted."""
    found = {}
    for embedder in evaluation.embedders:
        prefix = f"{embedder.label}/"
        row = {name.removeprefix(prefix): entry for name, entry in real.items() if name.startswith(prefix)}
        check = _checked(evaluation, embedder, row)
        found[embedder.label] = {"status": check.status, "lines": list(check.lines)}
        if check.status == "off" and ranks.is_first():
            print(expected.banner(embedder.label, check), file=sys.stderr)
    return found


def _checked(evaluation: Evaluation, embedder: Embedder, row: Mapping[str, Any]) -> expected.Check:
    evaluator, data = embedder.evaluator, evaluation.split.about
    protocol = evaluation.protocol.identity(REAL, evaluator.name)
    if evaluation.settings.record_expected and ranks.is_first():
        file = expected.record(evaluator.folder, data["name"], row, protocol, data["hash"])
        ranks.say(f"{file} written")
    known = expected.find(evaluator.folder, evaluator.network.family, evaluator.origin, data, protocol)
    return expected.check(row, known)
