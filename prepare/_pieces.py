"""The pieces of a packed text encoder: which are kept, which with all their bits, and a tokenizer with new numbers."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mld.errors import CheckpointError, RequestError

UNUSED = re.compile(r"\[unused\d+\]")  # rows of a BERT that no text leads to: blanks and brackets part words first
PIPELINE = "tokenizer.json"


@dataclass(frozen=True)
class Pieces:
    """kept: their numbers in the source, those with all bits (the first `fine` of them) first."""

    kept: tuple[int, ...]
    fine: int


def choose(vocabulary: dict[str, int], special: Iterable[int], wanted: Iterable[int], fine: int,
           most: int | None = None) -> Pieces:  # fmt: skip
    """Special and wanted pieces have all bits, and then those of lowest number up to `fine`, as BERT's list is by how
    often they occur. most: pieces that are kept; single letters and their continuations always are, so that every word
    can still be spelt."""
    by_number = sorted((number, piece) for piece, number in vocabulary.items() if not UNUSED.fullmatch(piece))
    first = {*special, *wanted} & {number for number, _ in by_number}
    words = [number for number, piece in by_number if len(piece) > 1 and not piece.startswith("##")]
    best = first | set([number for number in words if number not in first][: max(0, fine - len(first))])
    rest = [number for number, _ in by_number if number not in best]
    if most is not None:
        letters = {number for number, piece in by_number if len(piece.removeprefix("##")) == 1} - best
        left = most - len(best) - len(letters)
        if left < 0:
            raise RequestError(f"--pieces {most}: {len(best) + len(letters):,} at least are needed: {len(best):,} with "
                               f"all bits, {len(letters):,} single letters")  # fmt: skip
        rest = sorted(letters | set([number for number in rest if number not in letters][:left]))
    return Pieces((*sorted(best), *rest), len(best))


def renumbered(pipeline: Any, kept: Sequence[int], where: str) -> dict[str, Any]:
    """The content of a tokenizer.json with these pieces alone, numbered in this order, which neither cuts nor pads.
    `CheckpointError` where it is not of BERT's kind."""
    try:
        made = copy.deepcopy(pipeline)
        model, own = made["model"], {number: place for place, number in enumerate(kept)}
        if model["type"] != "WordPiece":
            raise KeyError("WordPiece")
        pieces = {piece: own[number] for piece, number in model["vocab"].items() if number in own}
        model["vocab"] = dict(sorted(pieces.items(), key=lambda item: item[1]))
        for token in made["added_tokens"]:
            token["id"] = own[token["id"]]
        closing = made["post_processor"]
        if closing["type"] == "TemplateProcessing":
            for token in closing["special_tokens"].values():
                token["ids"] = [own[number] for number in token["ids"]]
        elif closing["type"] == "BertProcessing":
            for name in ("sep", "cls"):
                closing[name][1] = own[closing[name][1]]
        else:
            raise KeyError("TemplateProcessing")
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: not a text tokenizer of BERT's kind ({error})") from error
    return {**made, "truncation": None, "padding": None}
