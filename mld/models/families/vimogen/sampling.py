"""Motions from noise: velocities under guidance, given frames put in at every level, made ones smoothed (spec 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mld.example import Clip
from mld.models.backbones.dit import DiT
from mld.models.contracts.sampling import StepHook
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.guidance import Above, Exact, Faithful, Guided
from mld.models.families.vimogen.patches import OfPatches, patched, patched_mask
from mld.models.heads.flow import TRAINED, leading_to, sigmas, smoothed, solve
from mld.models.noise import RowNoise
from mld.motion.representations.registry import get_representation


@dataclass(frozen=True)
class Prompt:
    """text (S, Z): features, of the empty text where a reference (R, C), normalised, leads. given: frames of the motion
    that are known, with their tokens. frames: of the whole motion, none where that is open. words: the text itself."""

    text: Tensor
    reference: Tensor | None = None
    given: tuple[Clip, ...] = ()
    frames: int | None = None
    words: str = ""

    @property
    def ends(self) -> int:
        """Frames until the end of the last motion that is given."""
        return max((clip.start + len(clip.tokens) for clip in self.given), default=0)

    def __len__(self) -> int:
        return len(self.text) + sum(len(clip.tokens) for clip in self.given)


class FrameModel(Protocol):
    """What sampling needs of the model."""

    config: ViMoGenConfig
    tokenizer: MotionTokenizer
    transformer: DiT
    device: torch.device

    def null_text(self) -> Tensor: ...

    def usual_frames(self, texts: Sequence[str]) -> list[int]: ...


@dataclass
class FromClean:
    """Velocities out of clean frames that are foretold, guidance included: its weights are 1 together, so that it is
    the same for both."""

    foretold: Guided

    def __call__(self, state: Tensor, t: float) -> Tensor:
        return leading_to(self.foretold(state, t), state, t / TRAINED)


@dataclass
class FrameDenoising:
    """Motions of prompts, all frames at once."""

    model: FrameModel
    prompts: Sequence[Prompt]

    def lengths(self, noise: RowNoise) -> list[int]:
        """A reference says how long its motion is; without, the text does, or all are as long as the config says. What
        goes on from a given motion takes so long beside it."""
        usual = self.model.usual_frames([one.words for one in self.prompts])
        longest = self.model.config.positions
        return [
            min(one.ends + own, longest) if one.reference is None else len(one.reference)
            for own, one in zip(usual, self.prompts)
        ]

    @torch.no_grad()
    def sample(self, mask: Tensor, noise: RowNoise, on_step: StepHook | None = None) -> Tensor:
        model, config, counts = self.model, self.model.config, mask.sum(1).tolist()
        start = noise.normal_rows(0, counts, model.tokenizer.layout.channels).to(mask.device)
        texts = [one.text.to(mask.device) for one in self.prompts]
        # A reference that is longer than what is wanted is read up to there.
        references = [
            None if one.reference is None else one.reference[:count].to(mask.device)
            for one, count in zip(self.prompts, counts)
        ]
        kind, patch = Exact if config.exact else Faithful, config.patch
        led = [None if one is None else patched(one[None], patch)[0] for one in references]

        def under(scale: float) -> Guided:
            return kind(
                model.transformer, texts, model.null_text(), led, patched_mask(mask, patch), scale, config.text_rows
            )

        guided = under(config.guidance_scale)
        if config.guidance_from:
            guided = Above(guided, under(1.0), config.guidance_from)
        if patch > 1:
            guided = OfPatches(guided, patch, mask)
        velocity = guided if config.prediction == "velocity" else FromClean(guided)
        known, frames = self.known(start)
        given = bool(known.any())

        def put(state: Tensor, level: float) -> Tensor:
            return torch.where(known, (1 - level) * frames + level * start, state) if given else state

        levels = sigmas(config.steps, config.shift, config.strength)
        state = solve(velocity, start, levels, config.sampler, put, on_step)
        if config.smooth:
            ends = [mask.shape[1]] * len(counts) if config.compat else counts
            state = put(smoothed(state, ends), 0.0)
        return self.reconciled(state, known[..., 0], counts) if config.reconcile else state

    def reconciled(self, state: Tensor, known: Tensor, counts: Sequence[int]) -> Tensor:
        """Frames (B, T, C) whose columns of places and of steps agree; those that are known (B, T) stay."""
        tokenizer, found = self.model.tokenizer, state.clone()
        described = get_representation(tokenizer.representation)
        for row, kept, count in zip(found, known, counts):
            features = described.reconciled(tokenizer.denormalize(row[:count]), kept[:count])
            row[:count] = torch.where(kept[:count, None], row[:count], tokenizer.normalize(features))
        return found

    def known(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames (B, T, 1) are given, and their tokens (B, T, C) in their places."""
        known, frames = torch.zeros_like(like[..., :1], dtype=torch.bool), torch.zeros_like(like)
        for row, prompt in enumerate(self.prompts):
            for clip in prompt.given:
                span = slice(clip.start, clip.start + len(clip.tokens))
                known[row, span] = True
                frames[row, span] = clip.tokens.to(frames)
        return known, frames
