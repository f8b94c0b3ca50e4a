"""Settings of the `motionstreamer` family. Defaults are the published sizes (MotionStreamer spec 0, 4-7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mld.errors import ConfigError
from mld.models.backbones.llama import LlamaConfig
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.sizes import check_factors


def _head() -> DiffusionHeadConfig:
    return DiffusionHeadConfig(
        width=1792, depth=9, pooling=False, noise_schedule="cosine", diffusion_steps=50, num_inference_steps="50",
        zero_init=True,
    )  # fmt: skip


@dataclass
class MotionStreamerConfig:
    """Training. text_dropout: share of a batch whose text is the empty one, which guidance needs; diffusion_batch_mul:
    noise levels drawn per latent. two_forward: a share of the history, which rises from 0 to 1, is what the model
    itself predicts. clip_clean: bound of these predictions, none as published, where they can be a thousand times
    wrong. end_probability: share of examples that end with the end latent (published: 5 in 6, and never for a caption
    of a part of a clip).

    Answers. guidance_scale: 1 switches guidance off. temperature: of the noise of the denoising steps, not of the first
    state. end_distance: a latent so near to the end latent ends the motion; least_latents come before that. longest:
    latents of a motion whose length nobody names. length_words: a text that ends with "for four seconds" names it
    (`mld.engine.lengths`). window: latents of history that the next one follows from (at most
    76: what follows from 77 was never trained); hop: so many of the oldest are dropped at once when there are more, 1
    as published; larger ones save time."""

    architecture: LlamaConfig = field(default_factory=LlamaConfig)
    head: DiffusionHeadConfig = field(default_factory=_head)
    text_dropout: float = 0.1
    diffusion_batch_mul: int = 4
    two_forward: bool = True
    clip_clean: float | None = None
    end_probability: float = 1.0
    guidance_scale: float = 4.0
    temperature: float = 1.0
    end_distance: float = 0.1
    least_latents: int = 1
    longest: int = 78
    length_words: bool = True
    window: int = 76
    hop: int = 1

    def __post_init__(self) -> None:
        for name in ("text_dropout", "end_probability"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is {value}, expected a number between 0 and 1")
        for name in ("diffusion_batch_mul", "least_latents", "longest", "window", "hop"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {value}, expected a whole number from 1 on")
        check_factors(self, ("guidance_scale", "temperature", "end_distance"))
        if self.window > self.architecture.positions - 1:
            raise ConfigError(
                f"window is {self.window}, but {self.architecture.positions} positions hold a text and"
                f" {self.architecture.positions - 1} latents"
            )
        if self.hop > self.window:
            raise ConfigError(f"hop is {self.hop}, more than the window of {self.window} latents")
