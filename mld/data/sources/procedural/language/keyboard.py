"""What hands on a keyboard do to a sentence: British or American endings, capitals, full stops, now and then a slip."""

from __future__ import annotations

import re

import numpy as np

from mld.data.sources.procedural.actions import either

TYPOS = 0.035  # share of sentences with one slip
CAPITALS, FULL_STOPS = 0.4, 0.6
# A slip in these would change what is said: sides, senses of turning, directions, numbers, "not".
_KEPT = re.compile(
    r"left|right|clock|both|ward|side|front|back|over|under|with|no[tr]?\b|n't|none|one|two|three|four|five|six|once|twice|"
    r"thrice|half|full|quarter|slow|fast|then|before|after|down|high|low|other|until|while|\d"
)
_ENDS = re.compile(r"\b(back|for|up|down|left|right)wards\b|\btowards\b")


def typed(rng: np.random.Generator, sentence: str) -> str:
    """The sentence as somebody may have typed it."""
    sentence = re.sub(r"\s+", " ", sentence).strip()
    sentence = re.sub(r"\s+(?=[,.;])", "", sentence)
    if rng.random() < 0.5:  # American
        sentence = _ENDS.sub(lambda match: match.group()[:-1], sentence)
    if "counterclockwise" in sentence:
        other = either(rng, "counterclockwise", "counter-clockwise", "anticlockwise", "anti-clockwise")
        sentence = sentence.replace("counterclockwise", other)
    sentence = re.sub(r"\ba (?=[aeiou])", "an ", sentence)
    if rng.random() < TYPOS:
        sentence = _slip(rng, sentence)
    stops = rng.random() < FULL_STOPS or ". " in sentence
    if rng.random() < CAPITALS or ". " in sentence and rng.random() < 0.8:
        sentence = ". ".join(part[:1].upper() + part[1:] for part in sentence.split(". "))
    return f"{sentence}." if stops and not sentence.endswith(".") else sentence


def _slip(rng: np.random.Generator, sentence: str) -> str:
    """One letter swapped, dropped or doubled, or a blank missing, in a word that may bear it."""
    words = sentence.split(" ")
    free = [n for n, word in enumerate(words) if len(word) > 3 and word.isalpha() and not _KEPT.search(word.lower())]
    if not free:
        return sentence
    at = int(rng.choice(free))
    word, way = words[at], either(rng, "swap", "drop", "double", "join")
    letter = int(rng.integers(1, len(word) - 1))
    if way == "swap":
        words[at] = word[:letter] + word[letter + 1] + word[letter] + word[letter + 2 :]
    elif way == "drop":
        words[at] = word[:letter] + word[letter + 1 :]
    elif way == "double":
        words[at] = word[:letter] + word[letter] + word[letter:]
    elif at + 1 in free:
        words[at : at + 2] = [word + words[at + 1]]
    return " ".join(words)
