"""MotionStreamer: a text vector and latents so far through LLaMA blocks, the next latent by a diffusion head.

Latents are those of a causal auto-encoder, four frames each. Training mixes the true history with the model's own
predictions (`two_forward`); a fixed latent, that of the mean pose, means the end (MotionStreamer spec 4-7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.example import Clip, Example, Segment, said
from mld.models.backbones.llama import Llama, LlamaBlock
from mld.models.contracts.generator import MotionGenerator, Output, Shape
from mld.models.contracts.network import Parts
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.families.motionstreamer.decoding import LatentDecoding, LatentRows, Prompt
from mld.models.families.motionstreamer.two_forward import (
    Draws,
    Rows,
    counted_loss,
    guesses,
    mixed,
    replaced_share,
)
from mld.models.heads.diffusion import DiffusionHead
from mld.models.noise import RowNoise
from mld.padding import padded


class MotionStreamer(MotionGenerator, family="motionstreamer"):
    """config: `MotionStreamerConfig`; text: an encoder whose sentence features are read."""

    Config = MotionStreamerConfig
    needs = ("tokenizer", "text")
    answers = frozenset({Shape("motion", 0), Shape("motion", 1)})
    shard_units = (LlamaBlock,)
    published: ClassVar[Mapping[str, Any]] = {
        "guidance_scale": 4.0, "temperature": 1.0, "window": 77, "hop": 1, "length_words": False,
    }  # fmt: skip

    def __init__(self, config: MotionStreamerConfig, tokenizer: MotionTokenizer, text: TextEncoder) -> None:
        super().__init__()
        if not tokenizer.layout.channels or not tokenizer.layout.frames_per_token:
            raise ConfigError(f"motionstreamer needs latents in order, as of 'causal_ae', not '{tokenizer.family}'")
        self.config, self.text = config, text
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        channels, width = tokenizer.layout.channels, config.architecture.width
        self.latent_embed, self.text_embed = nn.Linear(channels, width), nn.Linear(text.sentence_width, width)
        self.transformer, self.out_proj = Llama(config.architecture), nn.Linear(width, width)
        self.head = DiffusionHead(config.head, channels, 1, width, 1)
        self.register_buffer("end_latent", torch.zeros(channels))

    @classmethod
    def create(cls, config: MotionStreamerConfig, parts: Parts, corpus: Sequence[str]) -> MotionStreamer:
        model = cls(config, parts["tokenizer"], parts["text"])
        model.end_latent.copy_(end_latent(model.tokenizer))
        return model

    @classmethod
    def restore(cls, config: MotionStreamerConfig, parts: Parts, folder: Path | None = None) -> MotionStreamer:
        return cls(config, parts["tokenizer"], parts["text"])

    def adopt(self, config: MotionStreamerConfig) -> None:
        """Settings of training and sampling; sizes stay those of the trained model."""
        steps, sampler = config.head.num_inference_steps, config.head.sampler
        head = replace(self.config.head, num_inference_steps=steps, sampler=sampler)
        self.head.respace(steps, sampler)
        self.config = replace(config, architecture=self.config.architecture, head=head)

    def answer_as_published(self) -> None:
        """The published window is 77 latents behind the text; of fewer positions it is all but that of the text."""
        window = min(self.published["window"], self.config.architecture.positions - 1)
        self.adopt(replace(self.config, **{**self.published, "window": window}))

    @property
    def reads_lengths(self) -> bool:
        return self.config.length_words

    # training

    def conditions(self, texts: Tensor, latents: Tensor) -> Tensor:
        """Features (B, Z) of sentences, latents (B, L, C) -> what conditions each latent and one more (B, L + 1, W)."""
        rows = torch.cat((self.text_embed(texts)[:, None], self.latent_embed(latents)), 1)
        return self.out_proj(self.transformer(rows))

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        rows, texts = self.rows(batch), self.text_features(batch)
        draws = Draws.new(rows, self.config.head.diffusion_steps, self.config.diffusion_batch_mul)
        return {"diffusion_loss": self.step(rows, texts, progress, draws)}

    def step(self, rows: Rows, texts: Tensor, progress: float, draws: Draws) -> Tensor:
        """The loss of latents under texts (B, Z), with these random numbers."""

        def conditions(latents: Tensor) -> Tensor:
            return self.conditions(texts, latents[:, :-1])

        count = int(rows.latents.shape[1] * replaced_share(progress)) if self.config.two_forward else 0
        history = rows.latents
        if count:
            guessed = guesses(rows, conditions, self.head, draws, self.config.clip_clean)
            history = mixed(rows, guessed, draws, count)
        return counted_loss(rows, history, conditions, self.head, draws)

    def rows(self, batch: Sequence[Example]) -> Rows:
        """The latents of examples, those of the prompt first, the end latent last."""
        given = self._latents([example.prompt for example in batch])
        target = self._latents([example.target for example in batch])
        ends = torch.rand(len(batch)) < self.config.end_probability
        whole = [
            torch.cat((before, after, *([self.end_latent[None]] if ends[i] else [])))
            for i, (before, after) in enumerate(zip(given, target))
        ]
        latents, mask = padded([row[: self.config.architecture.positions - 1] for row in whole], self.device)
        counts = torch.tensor([len(row) for row in given], device=self.device)
        history = torch.arange(latents.shape[1], device=self.device) < counts[:, None]
        return Rows(latents, mask & ~history, history)

    def _latents(self, sides: Sequence[Sequence[Segment]]) -> list[Tensor]:
        """The latents (L, C) of all clips of each side, one after the other."""
        clips = [[part for part in side if isinstance(part, Clip)] for side in sides]
        found = iter(self.tokenize([clip for side in clips for clip in side]))
        nothing = self.end_latent[:0].new_zeros(0, len(self.end_latent))
        return [torch.cat((nothing, *(next(found).to(nothing) for _ in side))) for side in clips]

    def text_features(self, batch: Sequence[Example]) -> Tensor:
        """Features (B, Z) of what examples say; in training a share of them says nothing."""
        texts = [said(example.prompt) for example in batch]
        if self.training:
            for i in torch.randperm(len(texts))[: int(self.config.text_dropout * len(texts))].tolist():
                texts[i] = ""
        return torch.stack([features.sentence for features in self.text.encode(texts, self.device)]).to(self.device)

    # what the engine drives

    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Prompt:
        given = [part.tokens for part in prompt if isinstance(part, Clip)]
        text = self.text.encode([said(prompt)], self.device)[0].sentence
        return Prompt(text, torch.cat(given).float() if given else torch.zeros(0, len(self.end_latent)))

    def start(self, prompts: Sequence[Prompt], output: Output, counts: Sequence[int | None]) -> LatentDecoding:
        return LatentDecoding(self, prompts, counts)

    def streaming(self, rows: int) -> LatentRows:
        return LatentRows(self, rows)

    def null_text(self) -> Tensor:
        """Features (Z,) of the empty text, which stands for none."""
        return self.text.encode([""], self.device)[0].sentence.to(self.device)

    def end_distances(self, latents: Tensor) -> Tensor:
        """How far latents (B, C) are from the end latent: (B,)."""
        return (latents - self.end_latent).norm(dim=-1)

    def sample(self, conditions: Tensor, noise: RowNoise, number: int | Sequence[int]) -> Tensor:
        """Latents (B, C) for conditions (B, kinds, W) with draw `number` of each row's noise: the first state, then
        that of every step."""
        drawn = noise.normal(number, (self.head.steps + 1, 1, len(self.end_latent))).to(conditions.device)
        null = conditions[:, 1:] if conditions.shape[1] > 1 else None
        scale = self.config.guidance_scale if null is not None else 1.0
        return self.head.sample(conditions[:, :1], drawn, scale, null, self.config.temperature)[:, 0]


@torch.no_grad()
def end_latent(tokenizer: MotionTokenizer) -> Tensor:
    """The latent (C,) of the mean pose, which no motion has: it stands for the end. The published one is a random draw
    of the same (spec 2.8)."""
    frames = tokenizer.feature_mean.expand(1, tokenizer.layout.frames_per_token, -1)
    mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return (
        tokenizer.stream().encode(frames)[0, 0] if tokenizer.layout.causal else tokenizer.encode(frames, mask)[0][0, 0]
    )
