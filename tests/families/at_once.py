"""Raw frames at once: a flow from noise to normalised frames, in a few Euler steps; given frames are put in at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mld.example import Clip, Example, Reference, Segment
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.contracts.sampling import StepHook
from mld.models.noise import RowNoise
from mld.padding import padded
from tests.families.words import BagOfWords


@dataclass
class AtOnceConfig:
    width: int = 32
    steps: int = 4
    frames: int = 48  # where nobody names a length


@dataclass
class Prompt:
    segments: Sequence[Segment]

    def __len__(self) -> int:
        return sum(len(part.tokens) if isinstance(part, Clip) else 1 for part in self.segments)


class AtOnce(MotionGenerator, family="at_once"):
    Config = AtOnceConfig
    answers = frozenset({*(Shape("motion", clips) for clips in range(3)), Shape("motion", 0, True)})

    def __init__(self, config: AtOnceConfig, tokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        channels = tokenizer.layout.channels
        self.words, self.reference = BagOfWords(config.width), nn.Linear(channels, config.width)
        self.into, self.out = nn.Conv1d(channels, config.width, 5, padding=2), nn.Conv1d(config.width, channels, 1)
        self.time = nn.Linear(1, config.width)

    @classmethod
    def create(cls, config, parts, corpus) -> AtOnce:
        return cls(config, parts["tokenizer"])

    @classmethod
    def restore(cls, config, parts, folder=None) -> AtOnce:
        return cls(config, parts["tokenizer"])

    def adopt(self, config) -> None:
        self.config = config

    def condition(self, prompts: Sequence[Sequence[Segment]]) -> Tensor:
        found = self.words(prompts)
        for row, prompt in enumerate(prompts):
            for part in prompt:
                if isinstance(part, Reference):
                    frames = self.tokenizer.normalize(part.features.to(self.device))
                    place = torch.tensor([row], device=self.device)
                    found = found.index_add(0, place, self.reference(frames).mean(0)[None])
        return found

    def velocity(self, state: Tensor, time: Tensor, condition: Tensor, mask: Tensor) -> Tensor:
        hidden = self.into((state * mask[..., None]).transpose(1, 2)) + (self.time(time) + condition)[..., None]
        return self.out(torch.nn.functional.silu(hidden)).transpose(1, 2) * mask[..., None]

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        clips = [next(part for part in example.target if isinstance(part, Clip)) for example in batch]
        clean, mask = padded(self.tokenize(clips), self.device)
        noise, time = torch.randn_like(clean), torch.rand(len(clean), 1, device=clean.device)
        state = torch.lerp(noise, clean, time[..., None])
        wanted = self.velocity(state, time, self.condition([example.prompt for example in batch]), mask)
        return {"flow_loss": (wanted - (clean - noise))[mask].square().mean()}

    def prompt(self, prompt, output, num_frames=None) -> Prompt:
        return Prompt(prompt)

    def denoise(self, prompts: Sequence[Prompt]) -> Flow:
        return Flow(self, prompts)


@dataclass
class Flow:
    model: AtOnce
    prompts: Sequence[Prompt]

    def lengths(self, noise: RowNoise) -> list[int]:
        return [self.model.config.frames + seed % 8 for seed in noise.seeds]

    def sample(self, mask: Tensor, noise: RowNoise, on_step: StepHook | None = None) -> Tensor:
        model, steps = self.model, self.model.config.steps
        condition = model.condition([prompt.segments for prompt in self.prompts])
        start = noise.normal_rows(0, mask.sum(1).tolist(), model.tokenizer.layout.channels).to(mask.device)
        state = self._with_given(start, start, 0.0)
        for step in range(steps):
            time = torch.full((len(state), 1), step / steps, device=state.device)
            state = state + model.velocity(state, time, condition, mask) / steps
            state = self._with_given(state, start, (step + 1) / steps)
            if on_step is not None:
                on_step(step + 1, steps, state)
        return state

    def _with_given(self, state: Tensor, start: Tensor, time: float) -> Tensor:
        """Given frames as they are at this time of the flow."""
        state = state.clone()
        for row, prompt in enumerate(self.prompts):
            for part in prompt.segments:
                if isinstance(part, Clip):
                    span = slice(part.start, part.start + len(part.tokens))
                    state[row, span] = torch.lerp(start[row, span], part.tokens.to(state), time)
        return state
