"""TMR: text and motion as Gaussians in one latent space, with a motion decoder (Petrovich et al. 2023; spec 2).

The text side reads token features of a frozen transformer. A Gaussian's mean is the embedding; similarity is the
cosine. Training: reconstruction from either side, KL terms, near latents, InfoNCE without false negatives.
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

from mld.errors import ConfigError
from mld.example import Caption, EvaluatorBatch
from mld.models.contracts.evaluator import Mode
from mld.models.contracts.network import Parts
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.evaluators.base import FeatureEvaluator, check_captions, check_mode, matching_pairs
from mld.models.evaluators.tmr.actor import MAX_POSITIONS, ActorDecoder, ActorEncoder, Gaussian
from mld.models.evaluators.tmr.latent_losses import cosine_matrix, info_nce, kl_losses, similar_sentences
from mld.models.sizes import check_sizes
from mld.models.text_encoders.bert import MINILM, NAMED, BertEncoder
from mld.models.text_encoders.encoder import TRAVELLING
from mld.padding import padded

if TYPE_CHECKING:
    from mld.motion.normalizer import Normalizer


@dataclass
class TMRConfig:
    """nfeats and fps: 0 takes those of the representation.

    text_encoder: "minilm", folder or hub id of the transformer whose token features are read; its hash and width are
    filled in when a model is made. sentence_encoder: whose sentence embeddings find false negatives in training; "" is
    the text encoder itself. similar_above: cosine from which two sentences are no negatives (the published 0.8 is
    2 * 0.8 - 1 here). equal_are_negatives (compat): but equal ones are. noise_scale: of the latents drawn in training;
    small data sets learn faster below the published 1. normalizer: kind of statistics."""

    representation: str = "humanml3d"
    nfeats: int = 0
    fps: float = 0.0
    text_encoder: str = MINILM
    text_encoder_hash: str = ""
    text_width: int = 0
    text_relu: bool = False
    sentence_encoder: str = ""
    latent_dim: int = 256
    ff_size: int = 1024
    num_layers: int = 6
    num_heads: int = 4
    dropout: float = 0.1
    noise_scale: float = 1.0
    temperature: float = 0.1
    similar_above: float = 0.6
    equal_are_negatives: bool = False
    normalizer: str = "identity"

    def __post_init__(self) -> None:
        check_sizes(self, ("latent_dim", "ff_size", "num_layers", "num_heads"), shares=("dropout",),
                    optional=("nfeats", "fps", "text_width"))
        if self.latent_dim % self.num_heads:
            raise ConfigError(f"latent_dim {self.latent_dim} is not a multiple of num_heads {self.num_heads}")


class TMR(FeatureEvaluator, family="tmr"):
    """Build one with `create` (to train) or `restore` (to load weights into). The text encoder opens on first use."""

    Config = TMRConfig
    locations = ("text_encoder", "sentence_encoder")
    metric = "cosine"
    contrasts_means: ClassVar[bool] = False  # InfoNCE of means instead of drawn latents
    loss_weights: ClassVar[dict[str, float]] = {
        "recons_text": 1.0, "recons_motion": 1.0, "latent": 1e-5, "contrastive": 0.1,
        "kl_text_motion": 1e-5, "kl_motion_text": 1e-5, "kl_text": 1e-5, "kl_motion": 1e-5,
    }  # fmt: skip
    min_frames, max_frames = 1, MAX_POSITIONS - 2

    def __init__(self, config: TMRConfig, text: TextEncoder, normalizer: Normalizer | None = None) -> None:
        super().__init__(config, normalizer)
        self.embedding_dim = config.latent_dim
        self.text = text
        own = not config.sentence_encoder or config.sentence_encoder == config.text_encoder
        self.sentences = text if own else BertEncoder(config.sentence_encoder)
        sizes = (config.latent_dim, config.ff_size, config.num_layers, config.num_heads, config.dropout)
        self.motion_encoder = ActorEncoder(self.nfeats, *sizes)
        self.text_encoder = ActorEncoder(config.text_width, *sizes, relu=config.text_relu)
        self.motion_decoder = ActorDecoder(self.nfeats, *sizes)

    @classmethod
    def create(cls, config: TMRConfig, normalizer: Normalizer, captions: Iterable[Caption] = ()) -> TMR:
        """A new one to train; opens the text encoder. Nothing is learnt from the captions here."""
        config, text = copy.deepcopy(config), BertEncoder(config.text_encoder)
        config.text_encoder_hash, config.text_width = text.identity, text.width
        return cls(config, text, normalizer)

    @classmethod
    def restore(cls, config: TMRConfig, parts: Parts, folder: Path | None = None) -> TMR:
        described = {"source": config.text_encoder, "identity": config.text_encoder_hash}
        return cls(config, BertEncoder.restore(described, "evaluator", folder))

    def save_assets(self, folder: Path) -> None:
        """The text encoder travels along, except MiniLM, which is a Python package or a part of this one."""
        if self.config.text_encoder not in NAMED:
            self.text.save(folder / TRAVELLING)

    def cache_text(self, folder: str | Path) -> None:
        """Keep text features in a folder, one sub-folder per text encoder."""
        for source in {id(s): s for s in (self.text, self.sentences)}.values():
            source.keep_in(folder)

    def prepare_text(self, captions: Sequence[Caption], folder: Path | None = None) -> None:
        """Features of all captions, in the folder or, as far as they fit, in memory."""
        if folder is not None:
            self.cache_text(folder)
        texts = list(dict.fromkeys(sentence_of(caption) for caption in captions))
        for source in {id(s): s for s in (self.text, self.sentences)}.values():
            source.prepare(texts, self.device)

    # embeddings

    @property
    def device(self) -> torch.device:
        return self.feature_mean.device

    def embed_motion(self, features: Tensor, mask: Tensor, mode: Mode = "strict") -> Tensor:
        """Means (B, E). Published code has no quirk here, so both modes are the same."""
        check_mode(mode)
        return self.motion_encoder(self.normalized(features, mask), mask).mu

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        check_captions(captions)
        return self.encode_text(captions).mu

    def encode_text(self, captions: Sequence[Caption]) -> Gaussian:
        features = self.text.encode([sentence_of(c) for c in captions], self.device)
        return self.text_encoder(*padded([row.tokens for row in features], self.device))

    @staticmethod
    def scores(text: Tensor, motion: Tensor) -> Tensor:
        """How well texts (N, E) and motions (M, E) fit, (N, M) from 0 to 1: cosine / 2 + 1/2."""
        return cosine_matrix(text, motion) / 2 + 0.5

    # training

    def loss(self, batch: EvaluatorBatch, progress: float = 0.0) -> dict[str, Tensor]:
        """Terms of spec 2.2; latents are drawn in training and the means otherwise."""
        target = self.normalized(batch.features, batch.mask)
        check_captions(batch.captions)
        text, motion = self.encode_text(batch.captions), self.motion_encoder(target, batch.mask)
        scale = self.config.noise_scale if self.training else 0.0
        noise = [scale * torch.randn_like(gaussian.mu) for gaussian in (text, motion)]
        terms = self.losses(text, motion, noise, target, batch.mask, self._no_negatives(batch))
        diagonal = cosine_matrix(text.mu, motion.mu).diagonal().mean()
        return {**terms, "monitor/similarity": diagonal.detach()}

    def losses(
        self, text: Gaussian, motion: Gaussian, noise: Sequence[Tensor], target: Tensor, mask: Tensor, matching: Tensor
    ) -> dict[str, Tensor]:
        """noise: for the latents of text and of motion, (B, E) each. target: normalised motion (B, T, D), 0 outside
        mask (B, T); reconstruction is averaged over the padding too. matching: (B, B) pairs that are no negatives."""
        from_text, from_motion = text.sample(noise[0]), motion.sample(noise[1])
        contrasted = (text.mu, motion.mu) if self.contrasts_means else (from_text, from_motion)
        return {
            "recons_text": F.smooth_l1_loss(self.motion_decoder(from_text, mask), target),
            "recons_motion": F.smooth_l1_loss(self.motion_decoder(from_motion, mask), target),
            **kl_losses(text, motion),
            "latent": F.smooth_l1_loss(from_text, from_motion),
            "contrastive": info_nce(*contrasted, self.config.temperature, matching),
        }

    def _no_negatives(self, batch: EvaluatorBatch) -> Tensor:
        found = self.sentences.encode([sentence_of(c) for c in batch.captions], self.device)
        vectors = torch.stack([row.sentence for row in found]).to(self.device)
        config = self.config
        similar = similar_sentences(vectors @ vectors.T, config.similar_above, config.equal_are_negatives)
        if config.equal_are_negatives:
            return similar
        return similar | matching_pairs(batch.captions, batch.labels).to(self.device)


def sentence_of(caption: Caption) -> str:
    """The caption's text; its words where only tokens are known."""
    return caption.text.strip() or " ".join(token.rpartition("/")[0] for token in caption.tokens)
