"""`word/POS` items of a raw caption: lemmas of nouns and verbs, universal part-of-speech tags (evaluation spec 6.6).

Data sets store these items; only raw captions (predictions, own data) need this. `spacy` tags with `en_core_web_sm`,
`rules` with a small lexicon and a few endings: good for captions of motion, not a general tagger.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from typing import Any

import yaml

from mld.errors import ConfigError, MldError, missing_extra

SPACY_PIPELINE = "en_core_web_sm"
TAGGERS = ("auto", "rules", "spacy")
# What stands before a noun, not before a verb.
_BEFORE_NOUN = {"DET", "ADJ", "NUM", "ADP"}


def tag_caption(text: str, tagger: str = "auto") -> tuple[str, ...]:
    """`("a/DET", "man/NOUN", "walk/VERB", ...)`. tagger: "rules", "spacy", or "auto", which is spaCy when its English
    pipeline is installed and the rules otherwise. A text without letters gives ()."""
    if tagger_name(tagger) == "rules":
        return tuple(f"{word}/{tag}" for word, tag in _rules(text))
    return _spacy(text)


def tagger_name(tagger: str = "auto") -> str:
    """What `tag_caption` will use: "rules" or the name and version of the spaCy pipeline, for the record."""
    if tagger not in TAGGERS:
        raise ConfigError(f"tagger '{tagger}' is not known; known: {', '.join(TAGGERS)}")
    if tagger == "rules" or (tagger == "auto" and not (find_spec("spacy") and find_spec(SPACY_PIPELINE))):
        return "rules"
    meta = _pipeline().meta
    return f"spacy {meta['name']} {meta['version']}"


@lru_cache
def _pipeline() -> Any:
    if find_spec("spacy") is None:
        raise missing_extra("spacy", "text")
    import spacy

    if find_spec(SPACY_PIPELINE) is None:
        raise MldError(f"tagging needs the spaCy pipeline: python -m spacy download {SPACY_PIPELINE}")
    return spacy.load(SPACY_PIPELINE)


def _spacy(text: str) -> tuple[str, ...]:
    found = []
    for token in _pipeline()(text.replace("-", "")):
        if token.text.isalpha():
            lemma = token.pos_ in ("NOUN", "VERB") and token.text != "left"
            found.append(f"{token.lemma_ if lemma else token.text}/{token.pos_}")
    return tuple(found)


@lru_cache
def _lexicon() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("tagging.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    # A word listed under two tags keeps the first one.
    data["fixed"] = {word: tag for tag, words in reversed(data["fixed"].items()) for word in words.split()}
    return {**data, "verbs": frozenset(data["verbs"].split()), "nouns": frozenset(data["nouns"].split())}


def _rules(text: str) -> list[tuple[str, str]]:
    words = re.findall(r"[a-z]+", re.sub(r"'s\b|n't\b|-", "", text.lower()))
    found: list[tuple[str, str]] = []
    for number, word in enumerate(words):
        before = found[-1][1] if found else ""
        following = words[number + 1] if number + 1 < len(words) else ""
        found.append(_tag(word, before, following))
    return found


def _tag(word: str, before: str, following: str) -> tuple[str, str]:
    """Lemma (or surface form) and tag of one word, given the tag before it and the word after it."""
    lexicon = _lexicon()
    if word == "to" and _verb(following) == following:
        return word, "PART"
    if word in lexicon["fixed"]:
        return word, lexicon["fixed"][word]
    verb, noun = _verb(word), _noun(word)
    if verb and (noun not in lexicon["nouns"] or before not in _BEFORE_NOUN):
        return (word if word == "left" else verb), "VERB"
    if word in lexicon["irregular_nouns"] or noun in lexicon["nouns"]:
        return noun, "NOUN"
    for suffix, tag in lexicon["suffixes"].items():
        if word.endswith(suffix) and len(word) > len(suffix) + 2:
            return word, tag
    if len(word) > 4 and word.endswith("ing") and before not in _BEFORE_NOUN:
        return _without(word, "ing"), "VERB"
    if len(word) > 4 and word.endswith("ed"):
        return (word, "ADJ") if before in _BEFORE_NOUN else (_without(word, "ed"), "VERB")
    return noun, "NOUN"


def _verb(word: str) -> str:
    """Base form of a verb of the lexicon, or ""."""
    lexicon = _lexicon()
    if word in lexicon["irregular_verbs"]:
        return lexicon["irregular_verbs"][word]
    candidates = [word]
    for ending in ("s", "es", "ing", "ed"):
        if word.endswith(ending):
            stem = word.removesuffix(ending)
            candidates += [stem, stem + "e", stem[:-1] + "y" if stem.endswith("i") else stem]
            candidates += [stem[:-1]] if stem[-1:] == stem[-2:-1] else []
    return next((form for form in candidates if form in lexicon["verbs"]), "")


def _noun(word: str) -> str:
    """Singular of a noun, by its ending."""
    irregular = _lexicon()["irregular_nouns"]
    if word in irregular:
        return irregular[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def _without(word: str, ending: str) -> str:
    """Base form of an unknown verb: the ending goes, with a doubled consonant; a silent e comes back."""
    stem = word.removesuffix(ending)
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
        return stem[:-1]
    silent = len(stem) > 2 and stem[-1] in "cgsuvz" and stem[-2] in "aeiourg"
    return stem + "e" if silent else stem
