"""What is compared: words of captions, references in threes, token strings and their lemmas (evaluation spec 4.9, 6.6).

Reference style "raw" means captions as written, "token" the lemmatised `word/POS` tokens of HumanML3D as a string. The
two styles move CIDEr by a factor of about 4, so a number without its style says nothing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from mld.errors import DataError, missing_extra

REFERENCES = 3  # per item
PIPELINE = "en_core_web_sm"
_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))
Lemmatiser = Callable[[str], str]


def normalise(caption: str) -> str:
    """Lower case, punctuation to spaces, single spaces: the words of BLEU in the metricverse convention."""
    return " ".join(caption.translate(_SPACES).lower().split())


def rouge_words(caption: str) -> list[str]:
    """Lower case runs of a-z and 0-9: the words of ROUGE in the metricverse convention."""
    return re.findall("[a-z0-9]+", caption.lower())


def three(references: Sequence[str]) -> list[str]:
    """References as published: A -> A A A, A B -> A B A, more -> the first three."""
    if not references:
        raise DataError("a caption without any reference cannot be scored")
    return [references[i % len(references)] for i in range(REFERENCES)]


def words_of_tokens(tokens: Sequence[str]) -> str:
    """`("a/DET", "man/NOUN")` -> "a man"."""
    return " ".join(token.rpartition("/")[0] or token for token in tokens)


def spacy_lemmatiser(pipeline: str = PIPELINE) -> Lemmatiser:
    """The tokens of a caption as HumanML3D made them: words only, lemmas of nouns and verbs, except "left".

    Newer pipelines tag differently from the one of 2021, so record which one was used. `MldError` if spaCy is not
    installed, `DataError` if the pipeline is not."""
    try:
        import spacy
    except ImportError as error:
        raise missing_extra("spacy", "text") from error
    try:
        parse = spacy.load(pipeline)
    except OSError as error:
        raise DataError(f"no spaCy pipeline '{pipeline}'; install it: python -m spacy download {pipeline}") from error
    return lambda caption: lemmas(parse(caption.replace("-", "")))


def lemmatiser_name(pipeline: str = PIPELINE) -> str:
    """Which lemmatiser scores would use here, with versions; "none" where spaCy or the pipeline is not installed."""
    try:
        return f"spacy {version('spacy')}, {pipeline} {version(pipeline)}"
    except PackageNotFoundError:
        return "none"


def installed_lemmatiser(pipeline: str = PIPELINE) -> Lemmatiser | None:
    """The lemmatiser that `lemmatiser_name` names, None for "none"."""
    return None if lemmatiser_name(pipeline) == "none" else spacy_lemmatiser(pipeline)


def lemmas(tokens) -> str:
    """Parsed tokens (with `text`, `lemma_`, `pos_`) -> their words in one string."""
    return " ".join(
        token.lemma_ if token.pos_ in ("NOUN", "VERB") and token.text != "left" else token.text
        for token in tokens
        if token.text.isalpha()
    )
