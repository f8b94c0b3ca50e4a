"""ViMoGen: normalised frames of a whole motion, made from noise by a transformer that foretells the velocity of a flow.

A row follows a text or a reference motion, never both. Frames that are given are put in at every step, so that one
network makes, continues, fills and edits motions (vimogen spec 3-6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mld.errors import ConfigError, RequestError, TooLong, nearest
from mld.example import Clip, Example, Reference, Segment, said
from mld.models.backbones.dit import DiT
from mld.models.backbones.dit_blocks import DiTBlock
from mld.models.backbones.dit_memory import dit_bytes
from mld.models.contracts.generator import MotionGenerator, Output, Shape
from mld.models.contracts.network import Parts
from mld.models.contracts.text_encoder import TextEncoder, token_features
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.vimogen.config import OWN, ViMoGenConfig
from mld.models.families.vimogen.patches import patched, patched_mask, unpatched
from mld.models.families.vimogen.reference import Spoiling, spoilt
from mld.models.families.vimogen.sampling import FrameDenoising, Prompt
from mld.models.families.vimogen.training import Batch, Draws, flow_losses
from mld.models.heads.flow import noised
from mld.models.heads.length import LengthHead
from mld.motion.representations.registry import get_representation
from mld.padding import padded


class ViMoGen(MotionGenerator, family="vimogen"):
    """config: `ViMoGenConfig`; text: an encoder whose token features are read."""

    Config = ViMoGenConfig
    needs = ("tokenizer", "text")
    answers = frozenset({*(Shape("motion", clips) for clips in range(3)), Shape("motion", 0, True)})
    shard_units = (DiTBlock,)
    published: ClassVar[Mapping[str, Any]] = {
        "guidance_scale": 5.0, "num_inference_steps": "50", "sampler": "euler", "shift": 5.0, "strength": 0.7,
        "smooth": True, "reconcile": False, "length_words": False, "default_frames": 100,
    }  # fmt: skip

    def __init__(self, config: ViMoGenConfig, tokenizer: MotionTokenizer, text: TextEncoder) -> None:
        super().__init__()
        if not tokenizer.layout.channels or tokenizer.layout.frames_per_token != 1:
            raise ConfigError(f"vimogen needs a vector per frame, as of 'frames', not '{tokenizer.family}'")
        self.config, self.text = config, text
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        described = get_representation(tokenizer.representation)
        self.blocks, channels = described.blocks, tokenizer.layout.channels
        self.led_by = described.columns_of_blocks(described.pose_blocks)
        self.transformer = DiT(config.transformer(channels, len(self.led_by), text.width))
        self.transformer.counts = config.compat
        self.register_buffer("column_weights", self._column_weights(config), persistent=False)
        places = torch.zeros(described.width)
        places[described.columns("positions")] = 1
        self.register_buffer("of_places", self._of_tokens(places, 0.0), persistent=False)
        self.fps = described.fps
        self.lengths = LengthHead(text.width) if config.length_head else None

    @classmethod
    def create(cls, config: ViMoGenConfig, parts: Parts, corpus: Sequence[str]) -> ViMoGen:
        return cls(config, parts["tokenizer"], parts["text"])

    @classmethod
    def restore(cls, config: ViMoGenConfig, parts: Parts, folder: Path | None = None) -> ViMoGen:
        return cls(config, parts["tokenizer"], parts["text"])

    def adopt(self, config: ViMoGenConfig) -> None:
        """Settings of training and sampling; sizes stay those of the trained model."""
        weights = self._column_weights(config)
        self.config = replace(config, **{name: getattr(self.config, name) for name in OWN})
        self.transformer.counts = config.compat
        self.column_weights = weights.to(self.column_weights)

    def _column_weights(self, config: ViMoGenConfig) -> Tensor:
        """What the loss weighs columns (C,) with. `ConfigError` for settings that these columns cannot have."""
        described = get_representation(self.tokenizer.representation)
        if config.reconcile and len(self.tokenizer.columns) < described.width:
            raise ConfigError("reconcile: needs all columns, the tokenizer holds some of them; set it to false")
        weights = torch.ones(described.width)
        for role, weight in ({"root": config.column_weight} | config.role_weights).items():
            if role not in described.roles:
                which = nearest(role, described.roles)
                raise ConfigError(f"role_weights: '{described.name}' has no columns of role '{role}'; {which}")
            weights[described.columns(role)] = weight
        return self._of_tokens(weights, 1.0)

    def _of_tokens(self, of_columns: Tensor, otherwise: float) -> Tensor:
        """What stands beside the columns (D,) of the representation, of those that tokens hold (C,)."""
        held = self.tokenizer.columns
        return of_columns[list(held)] if held else torch.full((self.tokenizer.layout.channels,), otherwise)

    @property
    def reads_lengths(self) -> bool:
        return self.config.length_words and not self.config.compat

    def activation_bytes(self, items: int, frames: int, half: bool, again: bool) -> int:
        positions = -(-frames // self.config.patch)
        return dit_bytes(self.transformer.config, items, positions, self.config.text_rows, half, again)

    # training

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """`flow_loss`, and in training what it is of the rows that follow a text and of those that follow a reference:
        a batch may have rows of one kind alone, and validation puts the same numbers of all processes together."""
        rows = self.rows(batch)
        found = self.step(rows, Draws.new(rows.clean, self.config))
        if self.lengths is not None:
            seconds = rows.mask.sum(1) / self.fps * rows.by_text
            found["length_loss"] = self.lengths.loss(self.read_lengths([said(one.prompt) for one in batch]), seconds)
        terms = ("flow_loss", "length_loss")
        return found if self.training else {name: found[name] for name in terms if name in found}

    def read_lengths(self, texts: Sequence[str]) -> Tensor:
        """What the length head reads of texts: the mean of the features (B, 1, Z) of their tokens."""
        return torch.stack([text.to(self.device).mean(0, keepdim=True) for text in self.read(texts)])

    def step(self, rows: Batch, draws: Draws) -> dict[str, Tensor]:
        """The losses of a batch with these levels and noise."""
        patch, references, seen = self.config.patch, rows.references, rows.reference_mask
        if references is not None and seen is not None:
            references, seen = patched(references, patch, seen), patched_mask(seen, patch)
        state = patched(noised(rows.clean, draws.sigma, draws.noise), patch, rows.mask)
        mask = patched_mask(rows.mask, patch)
        foretold = self.transformer(
            state, draws.time, rows.texts, references, mask, seen, rows.by_text, rows.text_mask
        )
        foretold = unpatched(foretold, patch, rows.clean.shape[1])
        steps = self.config.step_weight * self.of_places if self.config.step_weight else None
        return flow_losses(foretold, rows, draws, self.column_weights, self.config.prediction, steps)

    def rows(self, batch: Sequence[Example]) -> Batch:
        """Frames of whole motions, and what leads them."""
        clean, mask = padded(self._frames(batch), self.device)
        found = [self._reference(example.prompt) for example in batch]
        by_text = torch.tensor([one is None for one in found], device=self.device)
        texts, text_mask = self.filled(self.texts([one is None for one in found], batch))
        references = reference_mask = None
        if self.config.references:
            references, reference_mask = self._padded_references(found, clean)
            if self.training and not bool(by_text.all()):
                references, reference_mask = spoilt(
                    references, reference_mask, Spoiling.new(self.config, references)
                )
        counted = torch.stack([self._counted(example) for example in batch])
        return Batch(clean, mask, counted, texts, text_mask, references, reference_mask, by_text)

    def _frames(self, batch: Sequence[Example]) -> list[Tensor]:
        """Normalised frames (T, C) of the whole motion of each example, given frames included."""
        sides = [self._stretches(example) for example in batch]
        found = iter(self.tokenize([clip for side in sides for clip in side]))
        return [torch.cat([next(found) for _ in side]) for side in sides]

    def _stretches(self, example: Example) -> list[Clip]:
        """The clips that make up the whole motion, in order. What is to be made is whole, or goes on from what is given
        and leads to what is given."""
        (made,) = (part for part in example.target if isinstance(part, Clip))
        given = [part for part in example.prompt if isinstance(part, Clip)] if made.start else []
        return sorted([*given, made], key=lambda clip: clip.start)

    def _padded_references(self, found: Sequence[Tensor | None], clean: Tensor) -> tuple[Tensor, Tensor]:
        """References (B, T, R), zeros where there is none, as long as the frames (B, T, C), and their mask (B, T)."""
        longest = clean.shape[1]
        references = clean.new_zeros(len(clean), longest, len(self.led_by))
        mask = torch.zeros(references.shape[:2], dtype=torch.bool, device=clean.device)
        for row, one in enumerate(found):
            if one is not None:
                count = min(len(one), longest)
                references[row, :count], mask[row, :count] = one[:count].to(references), True
        return references, mask

    def _counted(self, example: Example) -> Tensor:
        """Columns (C,) bool that the loss of an example counts."""
        if example.supervised is None:
            return torch.ones(self.tokenizer.layout.channels, dtype=torch.bool, device=self.device)
        counted = torch.zeros(get_representation(self.tokenizer.representation).width)
        for name in example.supervised:
            counted[self.blocks[name]] = 1
        return self._of_tokens(counted, 0.0).to(self.device, torch.bool)

    def texts(self, followed: Sequence[bool], batch: Sequence[Example]) -> list[Tensor]:
        """Features (S, Z) of what examples say, of the empty text where that is not followed; in training a share of
        the texts is dropped."""
        texts = [said(example.prompt) if read else "" for example, read in zip(batch, followed)]
        if self.training and self.config.text_dropout:
            dropped = torch.rand(len(texts)) < self.config.text_dropout
            texts = ["" if drop else text for text, drop in zip(texts, dropped.tolist())]
        return self.read(texts)

    def filled(self, texts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Texts (S, Z) as (B, L, Z), zeros behind each, L at least `text_rows`, and which of them are read: all, but
        for those that a row has only as another's text is longer; none where all are."""
        rows = max([self.config.text_rows, *(len(text) for text in texts)])
        together = torch.zeros(len(texts), rows, texts[0].shape[-1], device=self.device)
        for row, text in enumerate(texts):
            together[row, : len(text)] = text
        if rows == self.config.text_rows or self.config.compat:
            return together, None
        read = torch.tensor([max(self.config.text_rows, len(text)) for text in texts], device=self.device)
        return together, torch.arange(rows, device=self.device) < read[:, None]

    def read(self, texts: Sequence[str]) -> list[Tensor]:
        return token_features(self.text, texts, self.device)

    def null_text(self) -> Tensor:
        """Features (S, Z) of the empty text, which stands for none."""
        return self.read([""])[0].to(self.device)

    def _reference(self, prompt: Sequence[Segment]) -> Tensor | None:
        """What is read of the reference of a prompt: normalised frames (T, R), none where there is none."""
        found = next((part for part in prompt if isinstance(part, Reference)), None)
        if found is None:
            return None
        if not self.config.references:
            raise ConfigError("references=false: this model follows texts alone, but a motion is to lead it")
        return self.tokenizer.normalize(found.features.to(self.device))[:, self.led_by]

    # what the engine drives

    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Prompt:
        given = tuple(part for part in prompt if isinstance(part, Clip))
        reference, longest = self._reference(prompt), self.config.positions
        wanted = num_frames or (self.config.default_frames if reference is None else len(reference))
        if (frames := max([wanted, *(clip.start + len(clip.tokens) + 1 for clip in given)])) > longest:
            kind = TooLong if given else RequestError
            raise kind(f"{frames} frames are wanted, this model makes at most {longest} at once")
        text = self.read(["" if reference is not None else said(prompt)])[0]
        return Prompt(text, reference, given, num_frames, said(prompt))

    def left_out(self, prompt: Sequence[Segment]) -> str:
        """A text beside a reference is not read, and of a long one the encoder reads the beginning."""
        words = said(prompt)
        if any(isinstance(part, Reference) for part in prompt):
            return "the reference motion leads, the text is not read" if words else ""
        longest = getattr(self.text, "max_tokens", None)
        if longest is None or len(words) < longest - 2:  # a token has a letter at least
            return ""
        count = len(self.read([words])[0])
        return f"the text has more tokens than the {longest} that are read" if count >= longest else ""

    @torch.no_grad()
    def usual_frames(self, texts: Sequence[str]) -> list[int]:
        """Frames of motions whose length nobody names."""
        if self.lengths is None:
            return [self.config.default_frames] * len(texts)
        seconds = self.lengths(self.read_lengths(texts)).tolist()
        return [min(max(round(one * self.fps), 1), self.config.positions) for one in seconds]

    def denoise(self, prompts: Sequence[Prompt]) -> FrameDenoising:
        return FrameDenoising(self, prompts)
