"""Replications of an evaluation: draws, requests, answers, scores, rows of the evaluators; finished ones are kept.

The real row comes first, before a model has answered anything, so that a wrong evaluator is seen at once. Processes
share the clips of every replication; all of them end with all numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from mld.engine.request import Request
from mld.evaluation import rows
from mld.evaluation.embedder import Embedder
from mld.evaluation.pace import Pace
from mld.evaluation.protocol import GROUP, MULTIMODALITY_SEED, ClipSet, Item, Protocol, by_length, item_seed
from mld.evaluation.rows import MULTIMODALITY, REAL, REPEATS, Replication
from mld.evaluation.state import RunState
from mld.evaluation.task import ScoreOptions, Setting, Task
from mld.metrics import ranks
from mld.metrics.results import Score, summarise
from mld.metrics.uncertainty import DRAWS
from mld.motion.representations.base import Representation

Scores = dict[str, Score]
Entries = dict[str, dict[str, Any]]
NO_MULTIMODALITY = "not measured; --multimodality 100 does (3,000 more answers)"


@dataclass
class Evaluation:
    """engine: a pipeline or motion tokenizer, None where only the real row is wanted. unit: frames to whose multiples
    it cuts clips. no_evaluator: why there is no embedder, if there is none. replications: how many. multimodality:
    captions of that pass, 0 leaves it out."""

    engine: Any
    representation: Representation
    unit: int
    clips: ClipSet
    protocol: Protocol
    embedders: Sequence[Embedder]
    state: RunState
    no_evaluator: str = ""
    replications: int = 20
    multimodality: int = 0
    batch_size: int = 32
    options: ScoreOptions = field(default_factory=ScoreOptions)
    show: bool = False

    def reference(self, controls: Sequence[str] = ()) -> dict[str, Entries]:
        """The real row and the controls, as entries of the results file by row; nothing without an evaluator."""
        names = (REAL, *controls) if self.embedders else ()
        pace = Pace("real motions", self.replications * len(names), "row", self.show, warm_up=len(names))
        found: dict[str, list[Scores]] = {name: [] for name in names}
        for number in range(self.replications if names else 0):
            replication = self._replication(number)
            for name in names:
                done = self.state.get(name, number) is not None
                found[name].append(self._finished(name, number, self._reference, name, replication, number))
                if done:
                    pace.skip(1)
                else:
                    pace.update(1, together=True)
        pace.close()
        return {name: self._entries(passes, name) for name, passes in found.items()}

    def task(self, task: Task) -> Entries:
        """All replications of a task, and its MultiModality pass, as entries of the results file."""
        repeated = self._repeated(task)
        total = self.replications * len(self.clips) + len(repeated) * REPEATS
        pace = Pace(task.name, total, "answer", self.show)
        passes = []
        for number in range(self.replications):
            done = self.state.get(task.name, number) is not None
            passes.append(self._finished(task.name, number, self._pass, task, number, pace))
            pace.skip(len(self.clips) if done else 0)
        entries = self._entries(passes, task.protocol)
        if "multimodality" in task.compares:
            entries |= self._multimodality(task, repeated, pace)
        pace.close()
        return entries

    def _finished(self, row: str, number: int, make: Callable[..., Scores], *arguments: Any) -> Scores:
        """A pass from the state, or made with `make(*arguments)` and put there."""
        known = self.state.get(row, number)
        if known is not None:
            return known
        start = time.monotonic()
        scores = make(*arguments)
        about = {"seed": self.protocol.replication_seed(number), "seconds": round(time.monotonic() - start, 3)}
        return self.state.put(row, number, scores, **about)

    def _replication(self, number: int) -> Replication:
        return Replication(self.clips, self.protocol, self.protocol.replication_seed(number))

    def _reference(self, name: str, replication: Replication, number: int) -> Scores:
        found: Scores = {}
        for embedder in self.embedders:
            if name == REAL:
                scores = rows.real_row(embedder, replication, _draws(number))
            else:
                scores = rows.control_row(name, embedder, replication, _draws(number))
            found |= _prefixed(embedder, scores)
        return found

    def _pass(self, task: Task, number: int, pace: Pace) -> Scores:
        """Requests, answers and scores of one replication."""
        replication, draws = self._replication(number), _draws(number)
        scores = task.scores(self.representation, self.options)
        motions: dict[int, Tensor] = {}
        texts: dict[int, str] = {}
        for places in self._blocks(replication.items):
            items = [replication.items[place] for place in places]
            requests = [self._request(task, item) for item in items]
            for place, item, answer in zip(places, items, task.answers(self.engine, requests, self.batch_size)):
                scores.update(item.clip, answer, item.number)
                if answer.features is None:
                    texts[place] = answer.text
                else:
                    motions[place] = answer.features
            pace.update(len(places))
        found = scores.compute(draws, replication.seed)
        kinds = [kind for kind in task.compares if kind in rows.NAMES]
        if not self.embedders or not kinds:
            return found | rows.nothing(kinds, self.no_evaluator)
        for embedder in self.embedders:
            if any(ranks.merged({ranks.rank(): bool(texts)}).values()):
                row = rows.text_row(embedder, replication, texts, draws)
            else:
                row = rows.motion_row(kinds, embedder, replication, motions, draws)
            found |= _prefixed(embedder, row)
        return found

    def _blocks(self, items: Sequence[Item]) -> Iterator[list[int]]:
        """Places of this process's items, of similar length together; those of middle length first, as they tell how
        long the whole will take."""
        mine = ranks.share(by_length(items), GROUP if self.protocol.mode == "upstream" else 1)
        starts = list(range(0, len(mine), self.batch_size))
        for start in starts[len(starts) // 2 :] + starts[: len(starts) // 2]:
            yield mine[start : start + self.batch_size]

    def _request(self, task: Task, item: Item, seed: int | None = None) -> Request:
        setting = Setting(self.representation, self.unit, seed=item.seed if seed is None else seed)
        request = task.request(item.prompt(), setting)
        if request.output == "motion" and request.num_frames is None and self.protocol.length == "given":
            return replace(request, num_frames=item.clip.num_frames)
        return request

    def _repeated(self, task: Task) -> list[Item]:
        """The clips whose captions are answered many times, drawn with their own seed."""
        if "multimodality" not in task.compares or not self.embedders or not self.multimodality:
            return []
        seed = self.protocol.seed + MULTIMODALITY_SEED
        items = Replication(self.clips, self.protocol, seed).items
        order = np.random.default_rng(seed).permutation(len(items))[: self.multimodality]
        return [items[i] for i in sorted(order.tolist())]

    def _multimodality(self, task: Task, items: Sequence[Item], pace: Pace) -> Entries:
        if not items:
            reason = NO_MULTIMODALITY if self.embedders else self.no_evaluator
            prefixes = [f"{embedder.label}/" for embedder in self.embedders] or [""]
            found = {prefix + MULTIMODALITY: Score(None, reason=reason) for prefix in prefixes}
            return self._entries([found], task.protocol)
        row = f"{task.name} multimodality {len(items)}"
        done = self.state.get(row, 0) is not None
        scores = self._finished(row, 0, self._repeats, task, items, pace)
        pace.skip(len(items) * REPEATS if done else 0)
        return self._entries([scores], f"{task.protocol}/{len(items)}x{REPEATS}")

    def _repeats(self, task: Task, items: Sequence[Item], pace: Pace) -> Scores:
        seed = self.protocol.seed + MULTIMODALITY_SEED
        generated: dict[int, list[Tensor]] = {}
        for place in ranks.share(range(len(items))):
            item = items[place]
            seeds = [item_seed(seed, item.clip.name, repeat) for repeat in range(REPEATS)]
            requests = [self._request(task, item, seed) for seed in seeds]
            answers = task.answers(self.engine, requests, self.batch_size)
            generated[item.number] = [answer.features for answer in answers]
            pace.update(REPEATS)
        found: Scores = {}
        for embedder in self.embedders:
            found |= _prefixed(embedder, rows.multimodality(embedder, seed, generated, DRAWS))
        return found

    def _entries(self, passes: Sequence[Mapping[str, Score]], what: str) -> Entries:
        """Summaries of all metrics, each with the protocol that its number depends on."""
        owners = {embedder.label: embedder for embedder in self.embedders}
        found: Entries = {}
        for name, score in passes[0].items():
            owner = owners.get(name.split("/")[0])
            protocol = self.protocol.identity(what, owner.name if owner else "")
            entry = summarise([{name: scores[name]} for scores in passes], protocol)[name]
            if score.interval is not None and entry["value"] is not None:
                entry["interval_over_items"] = list(score.interval)
            found[name] = entry
        return found


def _draws(number: int) -> int:
    """Bootstrap samples: the first replication also says how much the clips themselves matter."""
    return DRAWS if number == 0 else 0


def _prefixed(embedder: Embedder, scores: Mapping[str, Score]) -> Scores:
    return {f"{embedder.label}/{name}": score for name, score in scores.items()}
