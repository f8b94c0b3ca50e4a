"""Caption metrics; `CaptionScores` collects them."""

from mld.metrics.captions.bertscore import BertScorer
from mld.metrics.captions.scores import PROTOCOL, PROTOCOLS, CaptionScores
from mld.metrics.captions.text import installed_lemmatiser, lemmatiser_name, normalise, spacy_lemmatiser

__all__ = [
    "PROTOCOL", "PROTOCOLS", "BertScorer", "CaptionScores", "installed_lemmatiser", "lemmatiser_name", "normalise",
    "spacy_lemmatiser",
]  # fmt: skip
