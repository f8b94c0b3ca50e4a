"""A model whose latents always decode to the same walk, so that what a writer does with lengths can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout
from mld.models.noise import RowNoise
from mld.motion.representations.registry import get_representation
from tests.walking import walker

LONGEST = 160


@dataclass
class Config:
    compat_prediction: bool = False
    says: int = 60  # frames, where nobody names a length


class Walk(MotionTokenizer):
    """Latents (B, 1, 2) -> the first frames of a walk. `decoded` notes the lengths that were asked for."""

    representation = "humanml3d"
    layout = TokenLayout(channels=2, tokens_per_clip=1, longest=LONGEST, unit=4)

    def __init__(self) -> None:
        super().__init__()
        self.walk = get_representation("humanml3d").encode_joints(walker(LONGEST + 1)[None])[0]
        self.decoded: list[list[int]] = []

    @classmethod
    def restore(cls, config, parts, folder=None):
        return cls()

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return features.new_ones(len(features), 1, 2), mask.new_ones(len(features), 1)

    def decode(self, tokens: Tensor, mask: Tensor, frames: Tensor | None = None) -> Tensor:
        self.decoded.append(frames.sum(1).tolist())
        return self.walk[: frames.shape[1]].expand(len(tokens), -1, -1)

    def loss(self, batch, progress=0.0):
        return {}


@dataclass(frozen=True)
class Prompt:
    words: tuple[str, ...]
    clips: tuple[Tensor, ...]
    num_frames: int | None

    def __len__(self) -> int:
        return sum(len(words.split()) for words in self.words) + 4 * len(self.clips)


@dataclass
class Calls:
    prompts: list[Prompt] = field(default_factory=list)


class Scripted(MotionGenerator):
    answers = frozenset(Shape("motion", clips) for clips in range(3))

    def __init__(self, **config) -> None:
        super().__init__()
        self.config, self.tokenizer, self.calls = Config(**config), Walk(), Calls()
        self.weight = nn.Parameter(torch.zeros(1))

    @classmethod
    def restore(cls, config, parts, folder=None):
        return cls()

    create, adopt, loss = (restore,) * 3

    @property
    def keeps_given(self) -> bool:
        return not self.config.compat_prediction

    def tokenize(self, clips) -> list[Tensor]:
        return [torch.ones(1, 2) if clip.tokens is None else clip.tokens for clip in clips]

    def prompt(self, prompt, output: str, num_frames: int | None = None) -> Prompt:
        words = tuple(part.text for part in prompt if isinstance(part, Text))
        clips = tuple(part.tokens for part in prompt if isinstance(part, Clip))
        self.calls.prompts.append(Prompt(words, clips, num_frames))
        return self.calls.prompts[-1]

    def longest_prompt(self, output: str) -> int:
        return 20

    def denoise(self, prompts) -> Written:
        return Written(self.config.says, prompts)


@dataclass
class Written:
    """Latents that hold the length of the prompt and the seed."""

    says: int
    prompts: list[Prompt]

    def lengths(self, noise: RowNoise) -> list[int]:
        return [self.says + 4 * seed for seed in noise.seeds]

    def sample(self, mask: Tensor, noise: RowNoise, on_step=None) -> Tensor:
        assert len(self.prompts) == len(mask) == len(noise.seeds)
        rows = zip(self.prompts, noise.seeds)
        return torch.stack([torch.full((1, 2), float(len(prompt) + seed)) for prompt, seed in rows])
