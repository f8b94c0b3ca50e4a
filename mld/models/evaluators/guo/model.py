"""The text/motion matching networks of Guo et al. 2022, the field's standard evaluator (evaluation spec 1).

Motion is normalised with the evaluator's own statistics, then padded with zeros to 196 frames, both part of the
definition: the second convolution sees the padding. The contact columns are dropped. Training has two stages: the
movement encoder as half of an autoencoder, then both GRUs by contrast, with the movement encoder frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import CheckpointError, ConfigError, DataError
from mld.example import Caption, EvaluatorBatch
from mld.models.contracts.evaluator import Mode
from mld.models.contracts.network import Parts
from mld.models.evaluators.base import FeatureEvaluator, check_captions, check_mode, matching_pairs
from mld.models.evaluators.guo.networks import (
    FRAMES_PER_MOVEMENT,
    BiGRU,
    MovementDecoder,
    MovementEncoder,
    WordEncoder,
    initialise,
)
from mld.models.evaluators.guo.tagging import tag_caption, tagger_name
from mld.models.evaluators.guo.vectorizer import PARTS, WordVectors
from mld.models.evaluators.guo.word_vectors import train_word_vectors
from mld.models.fingerprint import tensor_hash
from mld.models.sizes import check_sizes

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer

CONTACT_COLUMNS = 4
PADDED_FRAMES = 196
MAX_WORDS = 20
WORDS_FOLDER = "words"
STAGES = ("movement", "matching")
# What the second stage takes from the first, whatever its own config says.
FIRST_STAGE_FIELDS = ("representation", "nfeats", "fps", "movement_hidden", "movement_latent", "words", "word_dim",
                      "normalizer")  # fmt: skip
FIRST_STAGE_TENSORS = ("movement_encoder.", "feature_mean", "feature_std")


@dataclass
class GuoConfig:
    """nfeats and fps: 0 takes those of the representation. stage: "movement" (autoencoder) or "matching".

    words: folder with the published word vectors; "" trains own ones on the captions. word_dim is for own ones. tagger
    gives parts of speech to captions that have none: "auto", "rules" or "spacy". margin: distance from which on a
    wrong pair costs nothing. normalizer: kind of statistics in the buffers."""

    representation: str = "humanml3d"
    nfeats: int = 0
    fps: float = 0.0
    stage: str = "matching"
    movement_hidden: int = 512
    movement_latent: int = 512
    motion_hidden: int = 1024
    text_hidden: int = 512
    embedding_dim: int = 512
    word_dim: int = 300
    dropout: float = 0.2
    margin: float = 10.0
    words: str = ""
    tagger: str = "auto"
    normalizer: str = "identity"

    def __post_init__(self) -> None:
        sizes = ("movement_hidden", "movement_latent", "motion_hidden", "text_hidden", "embedding_dim", "word_dim")
        check_sizes(self, sizes, shares=("dropout",), optional=("nfeats", "fps"))


class GuoEvaluator(FeatureEvaluator, family="guo"):
    """Build one with `create` (to train) or `restore` (to load weights into)."""

    Config = GuoConfig
    locations = ("words",)
    loss_weights: ClassVar[dict[str, float]] = {
        "recons": 1.0, "sparsity": 1e-3, "smoothness": 1e-3, "positive": 1.0, "negative": 1.0,
    }  # fmt: skip
    min_frames, max_frames = FRAMES_PER_MOVEMENT, PADDED_FRAMES

    def __init__(self, config: GuoConfig, words: WordVectors, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        if config.stage not in STAGES:
            raise ConfigError(f"guo: stage '{config.stage}' is not known; known: {', '.join(STAGES)}")
        self.words, self.embedding_dim = words, config.embedding_dim
        self.register_buffer("vectors", torch.from_numpy(words.vectors), persistent=False)
        channels = self.nfeats - CONTACT_COLUMNS
        sizes = (channels, config.movement_hidden, config.movement_latent, config.dropout)
        self.movement_encoder = MovementEncoder(*sizes)
        self.movement_decoder = MovementDecoder(*sizes) if config.stage == "movement" else None
        self.motion_encoder = BiGRU(config.movement_latent, config.motion_hidden, config.embedding_dim)
        self.text_encoder = WordEncoder(
            words.vectors.shape[1], len(PARTS), config.text_hidden, config.embedding_dim
        )
        self._freeze()

    @classmethod
    def create(cls, config: GuoConfig, normalizer: Normalizer, captions: Iterable[Caption]) -> GuoEvaluator:
        """A new one to train. captions: all of the training set, needed when word vectors are to be trained."""
        config = copy.deepcopy(config)
        if config.words:
            words = WordVectors.load(config.words)
        else:
            words = train_word_vectors((tokens_of(c, config.tagger) for c in captions), config.word_dim)
        config.word_dim = words.vectors.shape[1]
        network = cls(config, words, normalizer)
        initialise(network)
        return network

    @classmethod
    def restore(cls, config: GuoConfig, parts: Parts, folder: Path | None = None) -> GuoEvaluator:
        if folder is None:
            raise CheckpointError("a guo evaluator needs the folder with its word vectors")
        return cls(config, WordVectors.load(Path(folder) / WORDS_FOLDER))

    def save_assets(self, folder: Path) -> None:
        self.words.save(folder / WORDS_FOLDER)

    def continued(self, config: GuoConfig) -> GuoEvaluator:
        after_movement = self.config.stage == "movement" and config.stage == "matching"
        return self.for_matching(config) if after_movement else self

    def for_matching(self, config: GuoConfig | None = None) -> GuoEvaluator:
        """A new network for the second stage: this movement encoder, statistics and words, fresh GRUs, no decoder.

        config: sizes of the GRUs, dropout and margin, by default this network's."""
        config = copy.deepcopy(config or self.config)
        config.stage = "matching"
        for name in FIRST_STAGE_FIELDS:
            setattr(config, name, getattr(self.config, name))
        network = type(self)(config, self.words)
        initialise(network)
        kept = {key: value for key, value in self.state_dict().items() if key.startswith(FIRST_STAGE_TENSORS)}
        network.load_state_dict({**network.state_dict(), **kept})
        return network

    @property
    def can_embed(self) -> bool:
        return self.config.stage == "matching"

    def train(self, mode: bool = True) -> GuoEvaluator:
        """In stage `matching` the movement encoder is frozen and its dropout is off."""
        super().train(mode)
        if self.config.stage == "matching":
            self.movement_encoder.eval()
        return self

    def _freeze(self) -> None:
        matching = self.config.stage == "matching"
        self.movement_encoder.requires_grad_(not matching)
        self.motion_encoder.requires_grad_(matching)
        self.text_encoder.requires_grad_(matching)

    # embeddings

    def embed_motion(self, features: Tensor, mask: Tensor, mode: Mode = "strict") -> Tensor:
        """upstream: padded to the longest of the batch only and read to the end of the padding, as MotionGPT does."""
        check_mode(mode)
        self._require_matching()
        known = self.normalized(features, mask)
        lengths = mask.sum(1)
        known = known[:, : int(lengths.max())]
        if mode == "upstream":
            return self.encode_motion(known, None)
        return self.encode_motion(F.pad(known, (0, 0, 0, PADDED_FRAMES - known.shape[1])), lengths)

    def encode_motion(self, normalized: Tensor, lengths: Tensor | None) -> Tensor:
        """Normalised and padded features (B, T, D), lengths (B,) in frames or None to read everything -> (B, E)."""
        movements = self.movement_encoder(normalized[..., :-CONTACT_COLUMNS])
        return self.motion_encoder(movements, None if lengths is None else lengths // FRAMES_PER_MOVEMENT)

    predicted_words = 40  # of captions that a model wrote, in the published scores

    def embed_text(self, captions: Sequence[Caption], max_words: int = MAX_WORDS) -> Tensor:
        """max_words: longer captions are cut; published captioning scores allow 40 for predicted ones."""
        self._require_matching()
        check_captions(captions)
        batch = self.words.vectorize([tokens_of(c, self.config.tagger) for c in captions], max_words)
        ids, pos = batch.ids.to(self.vectors.device), batch.pos.to(self.vectors.device)
        return self.encode_text(self.vectors[ids], F.one_hot(pos, len(PARTS)).to(self.vectors), batch.lengths)

    def encode_text(self, words: Tensor, pos: Tensor, lengths: Tensor) -> Tensor:
        """Word vectors (B, L, W), part-of-speech one-hot (B, L, 15), lengths (B,) in words -> (B, E)."""
        return self.text_encoder(words, pos, lengths)

    def text_identity(self) -> Iterable[str]:
        return (tensor_hash([("vectors", self.vectors)]), " ".join(self.words.words))

    def tagger_name(self) -> str:
        """What tags captions without tokens here and now, for the record."""
        return tagger_name(self.config.tagger)

    def _require_matching(self) -> None:
        if not self.can_embed:
            raise CheckpointError(
                "this guo evaluator has only its movement encoder trained; train stage 'matching' from it first"
            )

    # training

    def loss(self, batch: EvaluatorBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Stage movement: L1 reconstruction, mean size and mean step of the movements. Stage matching: `positive`
        mean d^2 of true pairs, `negative` mean max(0, margin - d)^2 of wrong ones (spec 1.3).

        Wrong pairs come from a cyclic shift of the batch that is never 0; pairs that match anyway are left out."""
        return self._movement_loss(batch) if self.config.stage == "movement" else self._matching_loss(batch)

    def _movement_loss(self, batch: EvaluatorBatch) -> dict[str, Tensor]:
        target = self.normalized(batch.features, batch.mask)[..., :-CONTACT_COLUMNS]
        frames = target.shape[1] // FRAMES_PER_MOVEMENT * FRAMES_PER_MOVEMENT
        target, mask = target[:, :frames], batch.mask[:, :frames]
        movements = self.movement_encoder(target)
        kept = mask[:, FRAMES_PER_MOVEMENT - 1 :: FRAMES_PER_MOVEMENT]
        steps = (movements[:, 1:] - movements[:, :-1])[kept[:, 1:]]
        return {
            "recons": F.l1_loss(self.movement_decoder(movements)[mask], target[mask]),
            "sparsity": movements[kept].abs().mean(),
            "smoothness": steps.abs().mean() if len(steps) else movements.new_zeros(()),
        }

    def _matching_loss(self, batch: EvaluatorBatch) -> dict[str, Tensor]:
        if len(batch) < 2:
            raise DataError("the matching loss needs at least two clips in a batch; raise the batch size")
        motion = self.embed_motion(batch.features, batch.mask)
        text = self.embed_text(batch.captions)
        order = torch.arange(len(batch)).roll(int(torch.randint(1, len(batch), ())))
        wrong = ~matching_pairs(batch.captions, batch.labels)[torch.arange(len(batch)), order]
        near = F.pairwise_distance(text, motion)
        far = F.pairwise_distance(text, motion[order.to(motion.device)])[wrong.to(motion.device)]
        missing = (self.config.margin - far).clamp(min=0)
        return {
            "positive": near.square().mean(),
            "negative": missing.square().mean() if len(far) else near.new_zeros(()),
            "monitor/distance": near.mean(),
        }


def tokens_of(caption: Caption, tagger: str) -> tuple[str, ...]:
    """The caption's own `word/POS` items, or those of the tagger."""
    return caption.tokens or tag_caption(caption.text, tagger)
