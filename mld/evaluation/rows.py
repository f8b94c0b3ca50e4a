"""The numbers that an evaluator gives, by row: the real motions, a model's answers, and controls that must be worse.

All rows of a replication use the same items, the same groups of 32 and the same draws, so that they differ in what is
measured only. "Matching" numbers are about pairs of text and motion, "distribution" numbers about sets of motions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mld.errors import DataError
from mld.evaluation.draws import Replication
from mld.evaluation.embedder import STANDS_FOR_NOTHING, Embedder
from mld.metrics import ranks
from mld.metrics.embedding_scores import DistributionDistance, Diversity, MultiModality, RPrecision
from mld.metrics.embeddings import shuffled
from mld.metrics.items import attempt
from mld.metrics.results import Score
from mld.metrics.retrieval import PROTOCOLS, Retrieval

Scores = dict[str, Score]
REAL, SHUFFLED, MEAN_POSE = "real", "shuffled captions", "mean pose"
CONTROLS = (SHUFFLED, MEAN_POSE)
MATCHING = ("R_precision_top_1", "R_precision_top_2", "R_precision_top_3", "Matching_score")
DISTRIBUTION = ("FID", "KID", "Diversity")
NAMES = {"matching": MATCHING, "distribution": DISTRIBUTION}
MULTIMODALITY = "MultiModality"
NO_DIVERSITY = "0 by construction: the published test does not measure it"
CAPTIONS, REPEATS = 100, 30  # of MultiModality


def real_row(embedder: Embedder, replication: Replication, draws: int = 0) -> Scores:
    """Scores of the real motions with their captions; FID and KID against other crops of the same clips."""
    text, motion = _captions(embedder, replication), _motions(embedder, replication)
    found = matching(embedder, replication, text, motion, draws)
    return found | distribution(replication, _motions(embedder, replication.next()), motion, draws)


def control_row(kind: str, embedder: Embedder, replication: Replication, draws: int = 0) -> Scores:
    """"shuffled captions": real motions with captions of others. "mean pose": motions that stand still."""
    text, motion = _captions(embedder, replication), _motions(embedder, replication)
    if kind == SHUFFLED:
        order = shuffled(len(text), replication.seed)
        text = text[order.roll(1)[order.argsort()]]  # no caption stays where it was
        return matching(embedder, replication, text, motion, draws)
    still = embedder.mean_pose(replication.items)
    found = matching(embedder, replication, text, still, draws)
    return found | distribution(replication, still, motion, draws)


def motion_row(
    kinds: Sequence[str], embedder: Embedder, replication: Replication, generated: Mapping[int, Tensor], draws: int = 0
) -> Scores:
    """Scores of generated motions. generated: those of this process, place of the item -> raw features (T, D)."""
    places = sorted(generated, key=lambda place: (len(generated[place]), place))
    rows = everywhere(places, lambda: embedder.motions([generated[place] for place in places]))
    if isinstance(rows, str):
        return nothing(kinds, rows)
    found: Scores = {}
    if "matching" in kinds:
        found |= matching(embedder, replication, _captions(embedder, replication), rows, draws)
    if "distribution" in kinds:
        found |= distribution(replication, rows, _motions(embedder, replication), draws)
    return found


def text_row(embedder: Embedder, replication: Replication, said: Mapping[int, str], draws: int = 0) -> Scores:
    """Scores of written captions against the real motions. said: those of this process, place of the item -> text."""
    places = sorted(said)
    rows = everywhere(places, lambda: embedder.answers([said[place] for place in places]))
    if isinstance(rows, str):
        return nothing(("matching",), rows)
    found = matching(embedder, replication, rows, _motions(embedder, replication), draws)
    empty = sum(not text.strip() for text in ranks.merged(said).values())
    return noted(found, f"{empty} {STANDS_FOR_NOTHING}" if empty else "")


def matching(embedder: Embedder, replication: Replication, text: Tensor, motion: Tensor, draws: int) -> Scores:
    """R-precision, matching score and retrieval of texts and motions (N, E)."""
    mode, metric = replication.protocol.mode, embedder.metric
    sentences = embedder.sentences([item.caption for item in replication.items])
    precision = RPrecision(replication.seed, mode, metric)
    precision.update(text, motion, replication.ids, replication.labels)
    retrieval = Retrieval(("all", "guo") if sentences is None else PROTOCOLS, mode, metric)
    retrieval.update(text, motion, replication.ids, sentences, replication.labels)
    return _scores(precision, replication, draws) | _scores(retrieval, replication, draws)


def distribution(replication: Replication, generated: Tensor, reference: Tensor, draws: int) -> Scores:
    """FID, KID and diversity of generated against reference motions (N, E)."""
    kept = replication.counted
    found = distances(replication, generated[kept], reference[kept], draws, replication.ids[kept])
    return found | ({"Diversity": Score(0.0, "", len(kept), note=NO_DIVERSITY)} if replication.protocol.no_diversity
                    else {})  # fmt: skip


def distances(
    replication: Replication, generated: Tensor, reference: Tensor, draws: int, ids: Tensor | None = None
) -> Scores:
    """As `distribution`, for rows (N, E) of anything; ids (N,): which items they are, as all processes have all rows
    their numbers by default."""
    ids = torch.arange(len(generated)) if ids is None else ids
    distance = DistributionDistance(replication.seed, replication.protocol.mode)
    distance.update(generated, reference, ids)
    diversity = Diversity(replication.seed, replication.protocol.mode)
    diversity.update(generated, ids)
    return _scores(distance, replication, draws) | _scores(diversity, replication, draws)


def multimodality(embedder: Embedder, seed: int, generated: Mapping[int, Sequence[Tensor]], draws: int) -> Scores:
    """MultiModality. generated: those of this process, number of the clip -> its repeats, raw features (T, D) each."""
    numbers = list(generated)
    found = everywhere(numbers, lambda: torch.stack([embedder.motions(generated[n]) for n in numbers]))
    if isinstance(found, str):
        return {MULTIMODALITY: Score(None, reason=found)}
    metric = MultiModality(seed)
    metric.update(found, sorted(ranks.merged(dict.fromkeys(numbers, 0))))
    scores = attempt(metric.names, lambda: metric.scores(draws, seed))
    return noted(scores, "" if len(found) >= CAPTIONS else f"{len(found)} captions instead of {CAPTIONS}")


def nothing(kinds: Sequence[str], reason: str, with_multimodality: bool = False) -> Scores:
    """No values, and why, for the kinds of numbers."""
    names = [name for kind in kinds for name in NAMES[kind]] + [MULTIMODALITY] * with_multimodality
    return {name: Score(None, reason=reason) for name in names}


def noted(scores: Mapping[str, Score], note: str) -> Scores:
    """The scores with a remark."""
    if not note:
        return dict(scores)
    return {
        name: Score(s.value, s.unit, s.n, s.reason, s.interval, f"{s.note}; {note}" if s.note else note)
        for name, s in scores.items()
    }


def _captions(embedder: Embedder, replication: Replication) -> Tensor:
    """Embeddings (N, E) of the items' captions."""
    return embedder.texts([item.caption for item in replication.items])


def _motions(embedder: Embedder, replication: Replication) -> Tensor:
    """Embeddings (N, E) of the items' own motions."""
    return embedder.reference(replication.items, replication.crops)


def _scores(metric, replication: Replication, draws: int) -> Scores:
    return attempt(metric.names, lambda: metric.scores(draws, replication.seed))


def everywhere(places: Sequence[int], embed: Callable[[], Tensor]) -> Tensor | str:
    """The rows of all processes, ordered by place, or why one of them has none. embed: gives those of `places`."""
    rows, reason = torch.zeros(0), ""
    try:
        rows = embed() if places else rows
    except DataError as error:
        reason = str(error)
    reasons = [why for why in ranks.merged({ranks.rank(): reason}).values() if why]
    if reasons:
        return reasons[0]
    found = ranks.merged(dict(zip(places, rows)))
    return torch.stack([found[place] for place in sorted(found)])
