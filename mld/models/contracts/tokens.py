"""What a token of a motion tokenizer is: the one place that converts between frames and tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLayout:
    """codebook_size: tokens are codes (L,) int64; 0: they are vectors (L, C) float of `channels` C. frames_per_token: 0
    where a clip of any length is `tokens_per_clip` tokens, which then do not say how long it is. longest: frames of the
    longest clip that is read and made, 0 for any. causal: a token's frames follow from it and earlier ones alone.
    unit: clips are cut to multiples of so many frames in training and tests; by default the frames of a token."""

    codebook_size: int = 0
    channels: int = 0
    frames_per_token: int = 0
    tokens_per_clip: int = 0
    longest: int = 0
    causal: bool = False
    unit: int = 0

    def __post_init__(self) -> None:
        if bool(self.codebook_size) == bool(self.channels):
            raise ValueError("tokens are either codes (codebook_size) or vectors (channels)")
        if bool(self.frames_per_token) == bool(self.tokens_per_clip):
            raise ValueError("a token stands for frames (frames_per_token) or a clip is tokens (tokens_per_clip)")
        if not self.unit:
            object.__setattr__(self, "unit", self.frames_per_token or 1)

    @property
    def shortest(self) -> int:
        """Frames of the shortest clip that has tokens."""
        return self.frames_per_token or self.unit

    def count(self, frames: int) -> int:
        """Tokens of a clip; frames beyond a whole number of tokens have none."""
        return frames // self.frames_per_token if self.frames_per_token else self.tokens_per_clip

    def needed(self, frames: int) -> int:
        """Tokens that cover so many frames."""
        return -(-frames // self.frames_per_token) if self.frames_per_token else self.tokens_per_clip

    def frames(self, count: int) -> int:
        """Frames that so many tokens stand for; 0 where tokens do not say."""
        return count * self.frames_per_token

    def blank(self, frames: int) -> Tensor:
        """Zeros in the shape of a clip's tokens: (L,) int64 or (L, C) float32."""
        count = self.count(frames)
        return torch.zeros(count, dtype=torch.long) if self.codebook_size else torch.zeros(count, self.channels)
