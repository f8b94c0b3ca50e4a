"""The evaluator of 272-column motion at 30 fps: TMR after MotionStreamer's configuration (evaluation spec 3).

It differs from TMR in its depth, a ReLU before the text projection, DistilBERT as text encoder, means instead of drawn
latents in the contrast, and the distance: published numbers use Euclidean distances of the means. Motions have at most
300 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from mld.models.evaluators.tmr.model import TMR, TMRConfig
from mld.models.text_encoders.bert import MINILM


@dataclass
class TMR272Config(TMRConfig):
    """As `TMRConfig`. The published training found false negatives with paraphrase-MiniLM-L6-v2 and took equal
    sentences for negatives (equal_are_negatives)."""

    representation: str = "motion272"
    nfeats: int = 272
    fps: float = 30.0
    text_encoder: str = "distilbert-base-uncased"
    text_relu: bool = True
    sentence_encoder: str = MINILM
    num_layers: int = 4
    similar_above: float = 0.85


class TMR272(TMR, family="tmr272"):
    """Build one with `create` (to train) or `restore` (to load weights into)."""

    Config = TMR272Config
    metric = "euclidean"
    contrasts_means = True
    max_frames = 300
