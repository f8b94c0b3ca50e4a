"""The row of a task: requests, answers and scores of every replication, and its MultiModality pass.

Processes share the clips of every replication; all of them end with all numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from torch import Tensor

from mld.data.config import DataConfig
from mld.data.instructions import InstructionSet
from mld.engine.request import Answer, Request
from mld.evaluation import rows
from mld.evaluation.draws import GROUP, Item, Replication, by_length, item_seed
from mld.evaluation.evaluation import Entries, Evaluation, bootstrap_samples, prefixed
from mld.evaluation.pace import Pace
from mld.evaluation.rows import MULTIMODALITY, REPEATS, Scores
from mld.evaluation.state import RunState
from mld.evaluation.task import ScoreOptions, Task
from mld.example import Clip
from mld.metrics import ranks
from mld.metrics.results import Score
from mld.metrics.uncertainty import DRAWS
from mld.models.contracts.generator import Shape

MULTIMODALITY_SEED = 100_000  # added to the base seed
TEMPLATES = "Text-to-Motion/caption"  # the sub-task whose wordings the published tests draw from
PLAIN = DataConfig(token_drop_probability=0.0, min_frames=1)
NO_MULTIMODALITY = "not measured; --multimodality 100 does (3,000 more answers)"


def task_row(evaluation: Evaluation, state: RunState, task: Task) -> Entries:
    """All replications of a task, and its MultiModality pass, as entries of the results file."""
    return _TaskRow(evaluation, state, task).entries()


@dataclass(frozen=True, eq=False)
class _TaskRow:
    evaluation: Evaluation
    state: RunState
    task: Task

    def entries(self) -> Entries:
        replications, clips = self.evaluation.settings.replications, len(self.evaluation.split.clips)
        repeated = self._repeated()
        total = replications * clips + len(repeated) * REPEATS
        pace = Pace(self.task.name, total, "answer", self.evaluation.settings.progress)
        passes = []
        for number in range(replications):
            done = self.state.get(self.task.name, number) is not None
            replication = self.evaluation.replication(number)
            make = partial(self._pass, replication, bootstrap_samples(number), pace)
            passes.append(self.state.finished(self.task.name, number, replication.seed, make))
            pace.skip(clips if done else 0)
        entries = self.evaluation.entries(passes, self.protocol)
        if "multimodality" in self.task.compares:
            entries |= self._multimodality(repeated, pace)
        pace.close()
        return entries

    def _pass(self, replication: Replication, draws: int, pace: Pace) -> Scores:
        """Requests, answers and scores of one replication."""
        scores = self.task.scores(self.evaluation.split.representation, ScoreOptions(self.evaluation.settings.bert))
        motions: dict[int, Tensor] = {}
        texts: dict[int, str] = {}
        for places in self._blocks(replication.items):
            items = [replication.items[place] for place in places]
            answers = self._answers(map(self._request, items))
            for place, item, answer in zip(places, items, map(self._what_follows, items, answers)):
                scores.update(item.clip, answer, item.number)
                if answer.features is None:
                    texts[place] = answer.text
                else:
                    motions[place] = answer.features
            pace.update(len(places))
        return scores.compute(draws, replication.seed) | self._compared(replication, motions, texts, draws)

    def _compared(
        self, replication: Replication, motions: dict[int, Tensor], texts: dict[int, str], draws: int
    ) -> Scores:
        """What the evaluators say of this process's answers, by place of the item."""
        kinds = [kind for kind in self.task.compares if kind in rows.NAMES]
        if not self.evaluation.embedders or not kinds:
            return rows.nothing(kinds, self.evaluation.no_evaluator)
        found: Scores = {}
        words = any(ranks.merged({ranks.rank(): bool(texts)}).values())
        for embedder in self.evaluation.embedders:
            if words:
                found |= prefixed(embedder, rows.text_row(embedder, replication, texts, draws))
            else:
                found |= prefixed(embedder, rows.motion_row(kinds, embedder, replication, motions, draws))
        return found

    def _blocks(self, items: Sequence[Item]) -> Iterator[list[int]]:
        """Places of this process's items, of similar length together; those of middle length first, as they tell how
        long the whole will take."""
        size = self.evaluation.settings.batch_size
        mine = ranks.share(by_length(items), GROUP if self.evaluation.protocol.mode == "upstream" else 1)
        starts = list(range(0, len(mine), size))
        for start in starts[len(starts) // 2 :] + starts[: len(starts) // 2]:
            yield mine[start : start + size]

    def _answers(self, requests):
        return self.task.answers(self.evaluation.subject.engine, list(requests), self.evaluation.settings.batch_size)

    def _request(self, item: Item, seed: int | None = None) -> Request:
        setting = self.evaluation.subject.setting(item.seed if seed is None else seed)
        request = self.task.request(item.prompt(), setting)
        length = self.evaluation.protocol.length
        if request.output == "motion" and request.num_frames is None and length == "given":
            request = replace(request, num_frames=item.clip.num_frames)
        before = self._before(item)
        if before is None:
            return request
        frames = None if request.num_frames is None else len(before) + request.num_frames
        return replace(request, prompt=(*request.prompt, Clip(features=before)), num_frames=frames)

    def _before(self, item: Item) -> Tensor | None:
        """The given motion (T, D) that a model is asked to go on from; none where there is none, or the task or the
        model does not take it."""
        given = self.evaluation.split.given.get(item.number) if self._goes_on else None
        return None if given is None else given.features[: given.history]

    @cached_property
    def _goes_on(self) -> bool:
        engine = self.evaluation.subject.engine
        return self.task.goes_on and Shape("motion", 1) in getattr(getattr(engine, "model", None), "answers", ())

    def _what_follows(self, item: Item, answer: Answer) -> Answer:
        """The answer without the motion that it goes on from."""
        before = self._before(item)
        if before is None or answer.features is None or answer.motion is None:
            return answer
        first, representation = len(before), self.evaluation.split.representation
        features = representation.part(answer.features, first, len(answer.features))
        return replace(answer, features=features, motion=answer.motion.crop(first))

    @property
    def protocol(self) -> str:
        """What the numbers mean; said as well where motions go on from given ones."""
        behind = self._goes_on and self.evaluation.split.given
        return f"{self.task.protocol}/behind=given" if behind else self.task.protocol

    def _repeated(self) -> list[Item]:
        """The clips whose captions are answered many times, drawn with their own seed."""
        wanted = self.evaluation.settings.multimodality
        if "multimodality" not in self.task.compares or not self.evaluation.embedders or not wanted:
            return []
        items = self._drawn_apart.items
        order = np.random.default_rng(self._drawn_apart.seed).permutation(len(items))[:wanted]
        return [items[i] for i in sorted(order.tolist())]

    @property
    def _drawn_apart(self) -> Replication:
        return self.evaluation.replication(MULTIMODALITY_SEED)

    def _multimodality(self, items: Sequence[Item], pace: Pace) -> Entries:
        evaluation, protocol = self.evaluation, self.protocol
        if not items:
            reason = NO_MULTIMODALITY if evaluation.embedders else evaluation.no_evaluator
            prefixes = [f"{embedder.label}/" for embedder in evaluation.embedders] or [""]
            nothing = {prefix + MULTIMODALITY: Score(None, reason=reason) for prefix in prefixes}
            return evaluation.entries([nothing], protocol)
        how = f"/templates={self._instructions}" if self._instructions else ""
        row = f"{self.task.name} multimodality {len(items)}"
        done = self.state.get(row, 0) is not None
        scores = self.state.finished(row, 0, evaluation.protocol.seed, partial(self._repeats, items, pace))
        pace.skip(len(items) * REPEATS if done else 0)
        return evaluation.entries([scores], f"{protocol}/{len(items)}x{REPEATS}{how}")

    @property
    def _instructions(self) -> str:
        """Instruction templates out of which each repeat is asked, as in the published tests; "" for one wording."""
        subject = self.evaluation.subject
        return self.evaluation.split.about["config"]["instructions"] if subject.published_templates else ""

    def _asked(self, item: Item, seed: int) -> Request:
        """One of the repeated questions about an item."""
        request = self._request(item, seed)
        if not self._instructions:
            return request
        given = tuple(part for part in request.prompt if isinstance(part, Clip))
        rng = np.random.default_rng(seed)
        asked = self._templates.draw(TEMPLATES, item.prompt(), rng, PLAIN).prompt
        return replace(request, prompt=(*asked, *given))

    @cached_property
    def _templates(self) -> InstructionSet:
        return InstructionSet.load(self._instructions)

    def _repeats(self, items: Sequence[Item], pace: Pace) -> Scores:
        seed = self._drawn_apart.seed
        generated: dict[int, list[Tensor]] = {}
        for place in ranks.share(range(len(items))):
            item = items[place]
            seeds = [item_seed(seed, item.clip.name, repeat) for repeat in range(REPEATS)]
            answers = self._answers(self._asked(item, each) for each in seeds)
            generated[item.number] = [self._what_follows(item, answer).features for answer in answers]
            pace.update(REPEATS)
        found: Scores = {}
        for embedder in self.evaluation.embedders:
            found |= prefixed(embedder, rows.multimodality(embedder, seed, generated, DRAWS))
        return found
