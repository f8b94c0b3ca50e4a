"""What a caption claims: the action words and sides of its clauses, as names of `facts.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mld.evaluation.suites.probes.predicates import shows
from mld.motion.facts import Facts
from mld.yaml_text import read_yaml

_CLAUSES = re.compile(r"[.;,]|\b(?:and|then|while|before|after|afterwards|but)\b")
_DENIED = re.compile(r"\b(?:without|not|never|no longer|instead of|n't)\b.*")
_BOTH = re.compile(r"\bboth\b|\bleft and right\b|\bright and left\b")


@dataclass(frozen=True)
class Claim:
    """fact: a name of `facts.yaml`. words: of the caption that claim it. side: "left", "right" or ""."""

    fact: str
    words: str
    side: str = ""


def claims(text: str) -> tuple[Claim, ...]:
    """What a sentence says is done, each fact once, in the order of the sentence; what is denied is left out."""
    found: dict[str, Claim] = {}
    for clause in _CLAUSES.split(text.lower()):
        clause = _DENIED.sub("", clause)
        sides = set(re.findall(r"\b(left|right)\b", clause))
        side = sides.pop() if len(sides) == 1 and not _BOTH.search(clause) else ""
        taken: list[tuple[int, int]] = []
        for word, near, names in _table():
            match = word.search(clause)
            if match is None or (near and not near.search(clause)):
                continue
            if any(match.start() < stop and start < match.end() for start, stop in taken):
                continue  # "walks backward" is not a walk as well
            taken.append(match.span())
            name = names[side or "any"]
            if name:
                found.setdefault(name, Claim(name, match[0].strip(), side if names["left"] != names["right"] else ""))
    return tuple(found.values())


def kept(text: str, facts: Facts) -> tuple[int, int]:
    """How many claims of a caption a motion shows, and how many it makes: for scoring motion-to-text."""
    made = claims(text)
    return sum(shows(claim.fact, facts) for claim in made), len(made)


@lru_cache(maxsize=1)
def _table() -> list[tuple[re.Pattern[str], re.Pattern[str] | None, dict[str, str]]]:
    rows = read_yaml(Path(__file__).with_name("claims.yaml").read_bytes())
    return [
        (re.compile(row["word"]), re.compile(row["near"]) if "near" in row else None,
         {side: row[side] for side in ("left", "right", "any")})
        for row in rows
    ]  # fmt: skip
