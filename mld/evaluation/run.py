"""An evaluation from top to bottom: numbers of a model on a split, with all that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mld.data.config import DataConfig
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluation import Evaluation
from mld.evaluation.evaluators import open_evaluators
from mld.evaluation.protocol import Protocol
from mld.evaluation.published import as_tested, published_test_of, told
from mld.evaluation.reference_rows import check_real_row, reference_rows
from mld.evaluation.results import earlier_tasks, write
from mld.evaluation.rows import REAL
from mld.evaluation.sequence_rows import sequence_row
from mld.evaluation.settings import Settings
from mld.evaluation.split import Split, open_split
from mld.evaluation.state import RunState
from mld.evaluation.subject import Subject
from mld.evaluation.task import SequenceTask, Task
from mld.evaluation.task_rows import task_row
from mld.metrics import ranks


def evaluate(
    data: DataConfig, settings: Settings, subject: Subject | None = None, tasks: Sequence[Task] = ()
) -> dict[str, Any]:
    """The content of `results.json`, which is written after every row. subject: None where only the real motions are
    wanted. tasks: those of the subject's that are measured. Mode "upstream" leaves the subject with the settings of
    the published tests.

    What an earlier run of the same evaluation has finished is not done again. `DataError` when there is no clip, or
    when the folder of the results holds another evaluation."""
    if subject is not None and settings.mode == "upstream":
        subject = subject.as_published()
        if (test := published_test_of(subject)) is not None:
            data, settings = as_tested(data, settings, test)
            ranks.say(told(data, settings))
    split = open_split(data, settings, subject)
    protocol = Protocol.of(settings, data, split.clips.labelled, split.encoded)
    evaluation = Evaluation(settings, split, protocol, subject, *_embedders(settings, split))
    state = RunState(evaluation.folder, evaluation.identity, settings.restart)
    results: dict[str, Any] = {"rows": {}, "tasks": {}, "checks": {}, **evaluation.about()}
    results["rows"] = reference_rows(evaluation, state)
    results["checks"] = check_real_row(evaluation, results["rows"].get(REAL, {}))
    results["tasks"] = earlier_tasks(results)
    write(results)
    for task in tasks:
        if isinstance(task, SequenceTask):
            results["tasks"][task.name] = sequence_row(evaluation, state, task)
        else:
            results["tasks"][task.name] = task_row(evaluation, state, task)
        write(results)
    return results


def _embedders(settings: Settings, split: Split) -> tuple[list[Embedder], str]:
    """The evaluators at work on the split, and why there is none, if there is none."""
    found, reason = open_evaluators(settings.evaluators, split.representation.name, split.about["fps"])
    if found and reason:
        ranks.say(f"left out: {reason}")
    for evaluator in found:
        evaluator.network.to(settings.device)
    return [Embedder(evaluator, split.clips, settings.mode, settings.cache) for evaluator in found], reason
