"""Settings of the `motiongpt3` family. Defaults are the published behaviour (MotionGPT3 spec 3, 4, 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mld.errors import ConfigError
from mld.models.generation import GenerationSettings
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.sizes import check_factors

GROUPS = ("text", "motion", "head")
CHOICES = {
    "holder_layout": ("chunk_major", "clip_major"),
    "prompt_style": ("train", "upstream_test"),
    "lm.init_motion_branch": ("random", "copy_text"),
}
PROBABILITIES = ("condition_dropout", "quote_probability", "length_prompt_probability", "word_dropout")


@dataclass
class TwoBranchConfig:
    """pretrained: a GPT-2 or two-branch folder, or a hub id, to start from; "" builds the sizes in `architecture` from
    scratch and trains a text tokenizer of `text_vocabulary` pieces. architecture is filled in when a model is made and
    then rebuilds it offline. init_motion_branch: "random" or "copy_text", for a motion branch that is new. max_length:
    longest row in training and longest prompt, in tokens. gradient_checkpointing trades time for memory."""

    pretrained: str = ""
    architecture: dict[str, Any] = field(default_factory=dict)
    text_vocabulary: int = 4000
    init_motion_branch: str = "random"
    max_length: int = 192
    gradient_checkpointing: bool = False


@dataclass
class MotionGPT3Config:
    """Layout. input_holders, output_holders: places that a given, a wanted clip takes. boundaries: a start and an end
    token around them. holder_layout: which place gets which part of the clips of a prompt; "chunk_major" (compat) mixes
    two clips as the published code does, "clip_major" keeps each together. prompt_style: "upstream_test" (compat)
    repeats the line break after a prompt, as the published tests do. quote_probability: chance that a caption without
    double quotes stands in them in training. length_prompt_probability: share of training prompts that name the length;
    above 0, requests with a length name it too. A model that was made with a text encoder reads its features of a
    prompt's words before its own pieces of them; word_dropout: share of training prompts whose caption only the
    features tell, so that unknown words are no surprise.

    Losses. ce_on_padding (compat): rows are padded to `lm.max_length` and the padding is part of the mean. mask_prompt:
    leave the prompt out of the loss. diffusion_batch_mul: noise levels drawn per clip. condition_dropout: chance that a
    clip is learnt without its condition, which guidance needs. condition_norm: normalise the hidden states that
    condition the head. vae_train_dropout (compat): dropout in the frozen VAE. sample_latents: draw given clips from
    their posterior when answering as well, not only in training. length_head: learn to tell how long a motion is.
    frozen: groups of parameters that are not trained, of "text", "motion" and "head"; with "text" alone the rows of
    the two boundary tokens still are.

    Answers. guidance_scale: 1 switches guidance off. temperature: of the noise of the denoising steps. length_range:
    first and last length in frames, drawn where nothing else tells. keep_quotes (compat): quotes around an answer
    in words stay. compat_prediction: decode a predicted motion over the whole length and do not join it to its
    head."""

    lm: TwoBranchConfig = field(default_factory=TwoBranchConfig)
    head: DiffusionHeadConfig = field(default_factory=DiffusionHeadConfig)
    input_holders: int = 4
    output_holders: int = 4
    boundaries: bool = True
    holder_layout: str = "chunk_major"
    prompt_style: str = "train"
    quote_probability: float = 0.5
    length_prompt_probability: float = 0.0
    word_dropout: float = 0.0
    ce_on_padding: bool = True
    mask_prompt: bool = False
    diffusion_batch_mul: int = 4
    condition_dropout: float = 0.1
    condition_norm: bool = False
    vae_train_dropout: bool = False
    sample_latents: bool = False
    length_head: bool = False
    frozen: list[str] = field(default_factory=list)
    guidance_scale: float = 1.0
    temperature: float = 1.0
    length_range: list[int] = field(default_factory=lambda: [80, 200])
    compat_prediction: bool = False
    keep_quotes: bool = False
    text_generation: GenerationSettings = field(
        default_factory=lambda: GenerationSettings(do_sample=False, repetition_penalty=1.1, max_length=40)
    )

    def check(self) -> None:
        """`ConfigError` for values that cannot work."""
        values = {"holder_layout": self.holder_layout, "prompt_style": self.prompt_style}
        values["lm.init_motion_branch"] = self.lm.init_motion_branch
        for name, known in CHOICES.items():
            if values[name] not in known:
                raise ConfigError(f"{name} '{values[name]}' is not one of {', '.join(known)}")
        if unknown := set(self.frozen) - set(GROUPS):
            raise ConfigError(f"frozen: unknown {sorted(unknown)}; known: {', '.join(GROUPS)}")
        for name in ("input_holders", "output_holders", "diffusion_batch_mul"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 1")
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} {getattr(self, name)} must lie between 0 and 1")
        check_factors(self, ("guidance_scale", "temperature"))
        if len(self.length_range) != 2 or not 1 <= self.length_range[0] <= self.length_range[1]:
            raise ConfigError(f"length_range {self.length_range} must be a first and a last length in frames")
