"""All that the numbers of one evaluation depend on, and how passes over a split become entries of the results file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mld.checkpoint import git_sha
from mld.evaluation.draws import Replication
from mld.evaluation.embedder import Embedder
from mld.evaluation.protocol import Protocol
from mld.evaluation.rows import REAL, Scores
from mld.evaluation.settings import Settings
from mld.evaluation.split import Split
from mld.evaluation.subject import Subject
from mld.metrics.captions import lemmatiser_name, metricverse
from mld.metrics.results import Score, summarise
from mld.metrics.uncertainty import DRAWS
from mld.version import __version__

Entries = dict[str, dict[str, Any]]
PLACE = Path("out/test")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """subject: None where only the real motions are wanted. no_evaluator: why there is no embedder, if there is
    none."""

    settings: Settings
    split: Split
    protocol: Protocol
    subject: Subject | None = None
    embedders: Sequence[Embedder] = ()
    no_evaluator: str = ""

    def replication(self, number: int) -> Replication:
        return Replication(self.split.clips, self.protocol, self.protocol.replication_seed(number))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Numbers of equal identity may be joined: more replications, other tasks."""
        data, model = self.split.about, self._model
        return {
            "protocol": f"{self.protocol.identity('all')}/matches={self.protocol.matches}", "seed": self.protocol.seed,
            "data": data["hash"], "captions": data["captions_hash"],
            "model": model and "/".join(
                model[key] for key in ("weights_hash", "config_hash", "opened_with") if key in model),
            "evaluators": {embedder.label: embedder.evaluator.name for embedder in self.embedders},
            "bert": str(self.settings.bert or ""), "lemmatiser": lemmatiser_name(), "version": __version__,
            "caption_backend": "nlg-metricverse" if metricverse.find() else "built-in",
        }  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        """Where the results go: as wanted, or a place of its own for each identity, so that none meets another."""
        if self.settings.out is not None:
            return self.settings.out
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return PLACE / f"{self._model['name'] if self._model else REAL}-{self.settings.split}-{key}"

    def about(self) -> dict[str, Any]:
        """What the results file says about everything that its numbers depend on."""
        return {
            "identity": self.identity, "protocol": {"id": self.protocol.identity("all"), **vars(self.protocol)},
            "data": self.split.about, "model": self._model,
            "evaluators": {embedder.label: _described(embedder) for embedder in self.embedders},
            "seeds": {"seed": self.protocol.seed, "replications": self.settings.replications},
            "mld_version": __version__, "git_sha": git_sha(), "folder": str(self.folder),
        }  # fmt: skip

    def entries(self, passes: Sequence[Mapping[str, Score]], what: str) -> Entries:
        """Summaries of all metrics, each with the protocol that its number depends on. what: that was measured."""
        names = {embedder.label: embedder.evaluator.name for embedder in self.embedders}
        found: Entries = {}
        for name, score in passes[0].items():
            protocol = self.protocol.identity(what, names.get(name.split("/")[0], ""))
            entry = summarise([{name: scores[name]} for scores in passes], protocol)[name]
            if score.interval is not None and entry["value"] is not None:
                entry["interval_over_items"] = list(score.interval)
            found[name] = entry
        return found

    @property
    def _model(self) -> dict[str, Any] | None:
        return self.subject.about if self.subject is not None else None


def bootstrap_samples(number: int) -> int:
    """Of a replication: the first one also says how much the clips themselves matter."""
    return DRAWS if number == 0 else 0


def prefixed(embedder: Embedder, scores: Mapping[str, Score]) -> Scores:
    """Scores under the name of their evaluator."""
    return {f"{embedder.label}/{name}": score for name, score in scores.items()}


def _described(embedder: Embedder) -> dict[str, str]:
    evaluator = embedder.evaluator
    return {"name": evaluator.name, "fingerprint": evaluator.fingerprint, "metric": embedder.metric,
            "folder": str(evaluator.folder), "family": evaluator.network.family}  # fmt: skip
