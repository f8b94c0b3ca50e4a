"""The metric object of captions: BLEU, ROUGE-L, CIDEr, METEOR, BERTScore, exact matches, share of different captions.

A protocol is a convention and a reference style, "metricverse-raw" (the default), "metricverse-token", "coco-raw" or
"coco-token"; numbers of different protocols do not compare (evaluation spec 4.9). Results of the first protocol have
plain names, those of the others are prefixed. All values are times 100, as published.

The scorers are our own: pycocoevalcap holds the same ones in 104 MB, most of it for METEOR, so it is the extra `nlg`
and a test compares the two where it is installed. nlg-metricverse is used where `prepare.nlg` has installed it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from mld.errors import DataError, MldError
from mld.metrics import uncertainty
from mld.metrics.captions import metricverse
from mld.metrics.captions.bertscore import BertScorer
from mld.metrics.captions.bleu import ORDERS, bleu, counts
from mld.metrics.captions.cider import cider_d
from mld.metrics.captions.meteor import meteor
from mld.metrics.captions.rouge import rouge_l
from mld.metrics.captions.text import Lemmatiser, normalise, rouge_words, three, words_of_tokens
from mld.metrics.items import ItemMetric, Items
from mld.metrics.results import Score
from mld.metrics.uncertainty import PerItem

PROTOCOLS = ("metricverse-raw", "metricverse-token", "coco-raw", "coco-token")
NAMES = (*(f"BLEU_{order}" for order in range(1, ORDERS + 1)), "ROUGE_L", "METEOR", "CIDEr", "BERTScore")
PROTOCOL = f"captions/{PROTOCOLS[0]}/3-references"
BUILT_IN = "built-in scorers"


class Record(NamedTuple):
    """One item: the answer, the reference captions, and per reference its `word/POS` tokens (or none at all)."""

    said: str
    references: list[str]
    tokens: list[list[str]]


@dataclass(frozen=True, eq=False)
class CaptionItems(Items):
    """Gathered items with their texts."""

    records: list[Record] = field(default_factory=list)

    def take(self, index: Tensor) -> CaptionItems:
        return CaptionItems(self.ids[index], {}, [self.records[i] for i in index.tolist()])


class CaptionScores(ItemMetric):
    """Scores of generated captions, see the module. exact: the caption equals one of its references. unique: different
    captions per caption, of the answers and of the first references, so that saying always the same shows.

    bert: the BERTScore model, None leaves it out. lemmatiser: applied to the answers in token protocols, and to raw
    references where an item has no tokens. java: whether METEOR of the coco convention may start Java (seconds).
    python: interpreter of the nlg-metricverse environment, None for the built-in scorers, by default the one that
    `prepare.nlg` made."""

    columns = ("bytes", "sizes")

    def __init__(
        self, protocols: Sequence[str] = PROTOCOLS[:1], bert: BertScorer | None = None,
        lemmatiser: Lemmatiser | None = None, java: bool = True, python: Path | None | str = "auto",
    ) -> None:  # fmt: skip
        super().__init__()
        unknown = set(protocols) - set(PROTOCOLS)
        if unknown or not protocols:
            raise DataError(f"no caption protocol {sorted(unknown)}; known: {', '.join(PROTOCOLS)}")
        self.protocols, self.bert, self.lemmatiser, self.java = tuple(protocols), bert, lemmatiser, java
        self.python = metricverse.find() if python == "auto" else python
        self.backend = BUILT_IN if self.python else f"{BUILT_IN} (nlg-metricverse: python -m prepare.nlg)"
        self.names = ("exact", "unique", "unique_reference", *(self._name(p, n) for p in protocols for n in NAMES))

    def update(
        self, captions: Sequence[str], references: Sequence[Sequence[str]], ids: Sequence[int] | Tensor | None = None,
        tokens: Sequence[Sequence[Sequence[str]]] | None = None,
    ) -> None:  # fmt: skip
        """captions: one answer per clip. references: the clip's captions. tokens: per caption its `word/POS` items."""
        tokens = [[]] * len(captions) if tokens is None else tokens
        if not len(captions) == len(references) == len(tokens):
            raise DataError(f"{len(captions)} captions for {len(references)} lists of references")
        if not captions:
            return
        packed = [
            json.dumps([said, list(several), [list(words) for words in parsed]]).encode()
            for said, several, parsed in zip(captions, references, tokens)
        ]
        sizes = torch.tensor([len(text) for text in packed])
        self._rows("ids").append(self._ids(ids, len(captions)))
        self._rows("sizes").append(sizes)
        self._rows("bytes").append(torch.frombuffer(bytearray(b"".join(packed)), dtype=torch.uint8))

    def measure(self, items: Items) -> dict[str, Score]:
        records = items.records
        reason = _without_references(items)
        if reason:
            return {name: Score(None, "%", len(records), reason) for name in self.names}
        share = {name: Score(shares.value, "%", len(records)) for name, shares in _exact(items).items()}
        share |= _variety(records)
        for protocol in self.protocols:
            found = self._protocol(protocol, records)
            share |= {self._name(protocol, name): score for name, score in found.items()}
        return share

    def per_item(self, items: Items) -> dict[str, PerItem]:
        """The shares of items in exact, ROUGE_L and CIDEr of every protocol; BLEU is no mean over items."""
        found = _exact(items)
        for protocol in self.protocols:
            said, references = self._texts(protocol, items.records)
            words, several = _words(said, references)
            values = {"ROUGE_L": 100 * _rouge(protocol, said, references), "CIDEr": 100 * cider_d(words, several)}
            for name, value in values.items():
                found[self._name(protocol, name)] = PerItem(items.ids, value, torch.ones_like(value))
        return found

    def intervals(self, items: Items, draws: int, seed: int) -> dict[str, tuple[float, float] | None]:
        """95 % bootstrap intervals over items, CIDEr with the word weights of the whole set; none of METEOR and
        BERTScore, which would have to be run again."""
        if _without_references(items):
            return {}
        try:
            found = {n: uncertainty.bootstrap_mean(s, draws, seed) for n, s in self.per_item(items).items()}
            for protocol in self.protocols:
                each, convention = self._bleu_counts(protocol, *self._texts(protocol, items.records))
                sums = [each[rows].sum(1) for rows in uncertainty.resamples(len(each), draws, seed)]
                values = 100 * bleu(torch.cat(sums), convention)
                for order, column in enumerate(values.T, start=1):
                    found[self._name(protocol, f"BLEU_{order}")] = uncertainty.percentiles(column)
        except DataError:  # a protocol without tokens: its scores carry the reason
            return {}
        return found

    def _protocol(self, protocol: str, records: Sequence[Record]) -> dict[str, Score]:
        try:
            said, references = self._texts(protocol, records)
        except DataError as error:
            return {name: Score(None, "%", len(records), str(error)) for name in NAMES}
        each, convention = self._bleu_counts(protocol, said, references)
        values = {f"BLEU_{i}": float(v) for i, v in enumerate(bleu(each.sum(0), convention), start=1)}
        values |= {"ROUGE_L": float(_rouge(protocol, said, references).mean())}
        values["CIDEr"] = float(cider_d(*_words(said, references)).mean())
        found = {name: Score(100 * value, "%", len(records)) for name, value in values.items()}
        found |= self._model_scores(convention, said, references)
        if convention == "metricverse" and self.python:
            found |= self._backend(self.python, said, references)
        return {name: found[name] for name in NAMES}

    def _model_scores(self, convention: str, said: list[str], references: list[list[str]]) -> dict[str, Score]:
        """METEOR and BERTScore, or why there is none."""
        found = {
            "METEOR": Score(None, "%", len(said), "METEOR of nltk needs the nlg-metricverse backend: prepare.nlg"),
            "BERTScore": Score(None, "%", len(said), "BERTScore needs a model folder, none is given"),
        }
        try:
            if convention == "coco" and not self.java:
                raise DataError("METEOR was left out")
            if convention == "coco":
                found["METEOR"] = Score(100 * meteor(said, references)[0], "%", len(said))
        except MldError as error:
            found["METEOR"] = Score(None, "%", len(said), str(error))
        try:
            if self.bert:
                value = float(self.bert(said, references).mean())
                reason = "" if value == value else "too few different references to weigh words"
                found["BERTScore"] = Score(None if reason else 100 * value, "%", len(said), reason)
        except MldError as error:
            found["BERTScore"] = Score(None, "%", len(said), str(error))
        return found

    def _backend(self, python: Path, said: list[str], references: list[list[str]]) -> dict[str, Score]:
        """What nlg-metricverse gives; nothing, and the built-in numbers stay, where it fails."""
        try:
            answer = metricverse.call(python, said, references)
        except DataError as error:
            self.backend = f"{BUILT_IN} ({error})"
            return {}
        package = f"nlg-metricverse {answer['version']}"
        failed = {name: why for name, why in answer["errors"].items() if name != "METEOR"}
        reasons = "; ".join(dict.fromkeys(failed.values()))
        self.backend = f"{package} ({', '.join(failed)} {BUILT_IN}: {reasons})" if failed else package
        found = {
            name: Score(100 * v, "%", len(said), note=package) for name, v in answer["scores"].items() if name in NAMES
        }
        if "METEOR" in answer["errors"]:
            found["METEOR"] = Score(None, "%", len(said), f"{package}: {answer['errors']['METEOR']}")
        return found

    def _texts(self, protocol: str, records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
        """Answers and three references each, as strings of the protocol's style."""
        if protocol.endswith("-raw"):
            return [record.said for record in records], [three(record.references) for record in records]
        bare = sum(not any(record.tokens) for record in records)
        if bare and self.lemmatiser is None:
            raise DataError(f"the references of {bare} of {len(records)} items have no tokens")
        lemmas = self.lemmatiser or (lambda caption: caption)
        references = [
            [words_of_tokens(words) for words in record.tokens if words] or [lemmas(text) for text in record.references]
            for record in records
        ]
        return [lemmas(record.said) for record in records], [three(several) for several in references]

    def _bleu_counts(self, protocol: str, said: list[str], references: list[list[str]]) -> tuple[Tensor, str]:
        convention = protocol.split("-")[0]
        prepare = normalise if convention == "metricverse" else (lambda text: text)
        words, several = _words([prepare(text) for text in said], [[prepare(r) for r in each] for each in references])
        return counts(words, several, convention), convention

    def _name(self, protocol: str, name: str) -> str:
        return name if protocol == self.protocols[0] else f"{protocol}/{name}"

    def _collect(self) -> CaptionItems:
        ids, order = self._order()
        if not len(ids):
            return CaptionItems(ids, {})
        packed = dim_zero_cat(self._rows("bytes")).numpy().tobytes()
        ends = dim_zero_cat(self._rows("sizes")).cumsum(0).tolist()
        starts = [0, *ends]
        records = [Record(*json.loads(packed[starts[row] : ends[row]])) for row in order.tolist()]
        return CaptionItems(ids, {}, records)


def _words(said: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [text.split() for text in said], [[text.split() for text in several] for several in references]


def _rouge(protocol: str, said: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
    if protocol.startswith("coco"):
        return rouge_l(*_words(said, references), "coco")
    words = [rouge_words(text) for text in said]
    return rouge_l(words, [[rouge_words(text) for text in several] for several in references], "metricverse")


def _without_references(items: CaptionItems) -> str:
    """Why the items cannot be scored at all; empty where they can."""
    if not len(items):
        return "no item was measured"
    empty = [i for i, record in zip(items.ids.tolist(), items.records) if not any(r.strip() for r in record.references)]
    shown = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
    return f"{len(empty)} of {len(items)} items have no reference caption (items {shown})" if empty else ""


def _exact(items: CaptionItems) -> dict[str, PerItem]:
    same = [normalise(r.said) in {normalise(text) for text in r.references} for r in items.records]
    values = 100 * torch.tensor(same, dtype=torch.float64)
    return {"exact": PerItem(items.ids, values, torch.ones_like(values))}


def _variety(records: Sequence[Record]) -> dict[str, Score]:
    said = {normalise(record.said) for record in records}
    first = {normalise(record.references[0]) for record in records}
    count = len(records)
    return {
        "unique": Score(100 * len(said) / count, "%", count),
        "unique_reference": Score(100 * len(first) / count, "%", count),
    }
