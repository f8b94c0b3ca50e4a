"""The row of a task that is told one thing after the other: sub-sequences, and what lies between them.

Sub-sequences are scored as clips are: each stands for one clip of the split, with its caption and length, so that the
row of the real motions is the one to compare with. Around every change of words a window is cut out; these windows are
compared with windows of real motion. Where the clips of the split go on from given motions, each is a sequence of its
own behind what was given; else clips are drawn together by the seed of the replication.

Evaluators get every part and window as a motion of its own (`Representation.part`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from torch import Tensor

from mld.engine.request import Answer
from mld.engine.streaming.script import Performance, Script
from mld.evaluation import rows
from mld.evaluation.draws import Item, Replication
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluation import Entries, Evaluation, bootstrap_samples, prefixed
from mld.evaluation.pace import Pace
from mld.evaluation.rows import Scores
from mld.evaluation.state import RunState
from mld.evaluation.task import Change, SequenceScores, SequenceTask
from mld.metrics import ranks
from mld.metrics.embeddings import shuffled

SECONDS = 1.0  # of a window around a change
TRANSITION = "transition/"
NO_CHANGE = "no sequence has a change of words"


def sequence_row(evaluation: Evaluation, state: RunState, task: SequenceTask) -> Entries:
    """All replications of a task, as entries of the results file. Each text holds as long as its clip, whoever decides
    the length of other motions; the protocol of the entries says so."""
    if evaluation.protocol.length != "given":
        ranks.say(f"{task.name}: each text holds for the length of its clip, whatever --length says")
        evaluation = replace(evaluation, protocol=replace(evaluation.protocol, length="given"))
    return _SequenceRow(evaluation, state, task).entries()


@dataclass(frozen=True, eq=False)
class Measured:
    """What a process has found. parts: by place of the item, raw features (T, D). around, real: windows by the place of
    the item after the change, (W, D)."""

    parts: dict[int, Tensor] = field(default_factory=dict)
    around: dict[int, Tensor] = field(default_factory=dict)
    real: dict[int, Tensor] = field(default_factory=dict)


def drawn_together(count: int, together: int, seed: int) -> list[list[int]]:
    """Places of items in sequences of so many, drawn by the seed; the last has those that are left over, too."""
    order = shuffled(count, seed).tolist()
    starts = list(range(0, max(1, count // together) * together, together))
    return [order[start : start + together if start != starts[-1] else count] for start in starts]


@dataclass(frozen=True, eq=False)
class _SequenceRow:
    evaluation: Evaluation
    state: RunState
    task: SequenceTask

    def entries(self) -> Entries:
        replications, clips = self.evaluation.settings.replications, len(self.evaluation.split.clips)
        pace = Pace(self.task.name, replications * clips, "clip", self.evaluation.settings.progress)
        passes = []
        for number in range(replications):
            done = self.state.get(self.task.name, number) is not None
            replication = self.evaluation.replication(number)
            make = partial(self._pass, replication, bootstrap_samples(number), pace)
            passes.append(self.state.finished(self.task.name, number, replication.seed, make))
            pace.skip(clips if done else 0)
        pace.close()
        return self.evaluation.entries(passes, self.protocol)

    @property
    def protocol(self) -> str:
        """How sequences, windows and what evaluators see were made."""
        pairs, reference = f"joined{self.task.together}-by-seed", "anywhere"
        if self.evaluation.split.given:
            pairs, reference = "of-the-data", "at-the-change"
        return f"{self.task.protocol}/pairs={pairs}/window={self.window}/real-windows={reference}/parts=own-origin"

    @property
    def window(self) -> int:
        """Frames of a window around a change."""
        return round(SECONDS * self.evaluation.split.representation.fps)

    def _pass(self, replication: Replication, draws: int, pace: Pace) -> Scores:
        representation = self.evaluation.split.representation
        scores, found = self.task.scores(representation), Measured()
        items, size = replication.items, self.evaluation.settings.batch_size
        sequences = self._sequences(replication)
        mine = [sequences[i] for i in ranks.share(range(len(sequences)))]
        mine.sort(key=lambda places: sum(items[place].clip.num_frames for place in places))
        for start in range(0, len(mine), size):
            block = mine[start : start + size]
            scripts = [self._script([items[place] for place in places]) for places in block]
            for places, made in zip(block, self.task.perform(self.evaluation.subject.engine, scripts, size)):
                self._measure(places, made, replication, found, scores)
                pace.update(len(places))
        return scores.compute(draws, replication.seed) | self._compared(replication, found, draws)

    def _sequences(self, replication: Replication) -> list[list[int]]:
        count = len(replication.items)
        if self.evaluation.split.given:
            return [[place] for place in range(count)]
        return drawn_together(count, self.task.together, replication.seed)

    def _script(self, items: Sequence[Item]) -> Script:
        given = self.evaluation.split.given.get(items[0].number)
        before = None if given is None else given.features[: given.history]
        setting = self.evaluation.subject.setting(items[0].seed)
        return self.task.sequence([item.prompt() for item in items], before, setting)

    def _measure(
        self, places: Sequence[int], made: Performance, replication: Replication, found: Measured,
        scores: SequenceScores,
    ) -> None:  # fmt: skip
        """Take a sequence apart."""
        representation, whole = self.evaluation.split.representation, made.features
        joints, half = representation.decode(whole).joints, self.window // 2
        for place, start in zip(places, made.starts):
            item = replication.items[place]
            end = start + item.clip.num_frames
            part = found.parts[place] = representation.part(whole, start, end)
            scores.update(item.clip, Answer(made.request, representation.decode(part), features=part), item.number)
            if start == 0:
                continue
            first = max(0, start - half)
            middle = start + max(0, (end - start - self.window) // 2)
            real = found.real[place] = self._real_window(item, replication)
            found.around[place] = representation.part(whole, first, first + self.window)
            inside = joints[middle : min(end, middle + self.window)]
            scores.change(
                item.number,
                Change(joints[first : first + self.window], inside, representation.decode(real).joints),
            )

    def _real_window(self, item: Item, replication: Replication) -> Tensor:
        """(W, D): around the change of a clip that goes on from a given motion, else anywhere in the clip."""
        representation, split = self.evaluation.split.representation, self.evaluation.split
        if given := split.given.get(item.number):
            first = max(0, given.history - self.window // 2)
            return representation.part(given.features, first, first + self.window)
        rng = np.random.default_rng([replication.seed, zlib.crc32(item.clip.name.encode())])
        first = int(rng.integers(max(1, item.clip.num_frames - self.window + 1)))
        return representation.part(item.clip.features, first, first + self.window)

    def _compared(self, replication: Replication, found: Measured, draws: int) -> Scores:
        """What the evaluators say of parts and changes."""
        kinds = self.task.compares
        if not self.evaluation.embedders:
            reason = self.evaluation.no_evaluator
            between = {TRANSITION + name: score for name, score in rows.nothing(("distribution",), reason).items()}
            return rows.nothing(kinds, reason) | between
        scores: Scores = {}
        for embedder in self.evaluation.embedders:
            scores |= prefixed(embedder, rows.motion_row(kinds, embedder, replication, found.parts, draws))
            scores |= prefixed(embedder, self._between(embedder, replication, found, draws))
        return scores

    def _between(self, embedder: Embedder, replication: Replication, found: Measured, draws: int) -> Scores:
        """FID, KID and diversity of windows around changes against real ones; those of the real ones beside it, FID
        and KID against the windows of another draw."""
        if not any(ranks.merged({ranks.rank(): bool(found.real)}).values()):
            return {TRANSITION + name: score for name, score in rows.nothing(("distribution",), NO_CHANGE).items()}
        others = {place: self._real_window(replication.items[place], replication.next()) for place in found.real}
        made, real, other = (_embedded(embedder, windows) for windows in (found.around, found.real, others))
        scores: Scores = {}
        for suffix, rows_of, against in (("", made, real), ("_real", real, other)):
            bad = next((each for each in (rows_of, against) if isinstance(each, str)), None)
            if bad is None:
                each = rows.distances(replication, rows_of, against, draws)
            else:
                each = rows.nothing(("distribution",), bad)
            scores |= {TRANSITION + name + suffix: score for name, score in each.items()}
        return scores


def _embedded(embedder: Embedder, windows: Mapping[int, Tensor]) -> Tensor | str:
    """Embeddings (N, E) of the windows of all processes, by place."""
    places = sorted(windows)
    return rows.everywhere(places, lambda: embedder.motions([windows[place] for place in places]))
