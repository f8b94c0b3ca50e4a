"""Settings of the `motiongpt` family (MotionGPT spec 3, 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mld.models.generation import GenerationSettings
from mld.models.sizes import check_factors, check_sizes


@dataclass
class LanguageModelConfig:
    """pretrained: folder or hub id to start from; "" builds the sizes in `architecture` from scratch and trains a text
    tokenizer of `text_vocabulary` pieces. architecture is filled in when a model is made and then rebuilds it offline.
    new_token_init: "normal" or "mean". max_length: longest prompt and longest answer in training, in tokens.
    mask_prompt (gpt2): leave the prompt out of the loss."""

    backbone: str = "t5"
    pretrained: str = ""
    architecture: dict[str, Any] = field(default_factory=dict)
    text_vocabulary: int = 4000
    new_token_init: str = "normal"
    max_length: int = 256
    mask_prompt: bool = False


@dataclass
class MotionGPTConfig:
    """quote_probability: chance that a caption stands in double quotes in training. unsupervised_ratio: share of
    examples trained on span corruption (t5) or as plain sequence (gpt2) instead. length_prompt_probability: share
    of training prompts that name the length; above 0, requests with a length name it too. legacy_token_lengths
    (compat): lengths in those prompts, and in instruction templates also heads and masks, count tokens, as in the
    published training, instead of frames. clamp_codes (compat): ids of a motion that are no codes are read as the
    last code. keep_quotes (compat): quotes around an answer in words stay. input_corruption: largest share of codes
    that are replaced by random ones where the model reads its own answer in training (T2M-GPT 3.2; 0 in MotionGPT):
    it then listens to the prompt and recovers from its own mistakes.

    A model that was made with a text encoder (backbone t5) reads its features of a prompt's words before its own pieces
    of them. text_dropout: share of training examples without their caption, as guidance needs it. word_dropout: share
    of those whose caption only the features tell, so that unknown words are no surprise. guidance_scale: of motions
    made for words, how far logits lead away from those for no words; 1 is none, and costs half."""

    lm: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    quote_probability: float = 0.5
    unsupervised_ratio: float = 0.0
    length_prompt_probability: float = 0.0
    legacy_token_lengths: bool = False
    keep_quotes: bool = False
    clamp_codes: bool = False
    input_corruption: float = 0.0
    text_dropout: float = 0.0
    word_dropout: float = 0.0
    guidance_scale: float = 1.0
    motion_generation: GenerationSettings = field(default_factory=GenerationSettings)
    text_generation: GenerationSettings = field(
        default_factory=lambda: GenerationSettings(do_sample=False, max_length=40)
    )

    def __post_init__(self) -> None:
        check_sizes(self, (), ("text_dropout", "word_dropout"))
        check_factors(self, ("guidance_scale",))
