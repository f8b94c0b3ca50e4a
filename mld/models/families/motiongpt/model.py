"""MotionGPT: a language model that reads and writes text and motion codes in one vocabulary (MotionGPT spec 3).

Every task is text in, text out: prompts and targets of an `Example` become ids, T5 or GPT-2 learns the target. The
motion tokenizer is part of the model and frozen. Sampling is the engine's work; the model gives prompt ids, what may
follow (grammar) and the steps.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Example, Segment, said
from mld.models import grammar, prompts
from mld.models.backbones.gpt2 import GPT2Backbone
from mld.models.backbones.layers import LogitSteps
from mld.models.backbones.pretrained import fitting, pretrained_folder, read_pretrained
from mld.models.backbones.t5 import T5Backbone
from mld.models.backbones.text_tokenizer import load_text_tokenizer, train_text_tokenizer, unknown_words
from mld.models.contracts.generator import MotionGenerator, Output, Shape
from mld.models.contracts.network import Parts
from mld.models.contracts.text_encoder import TextEncoder, check_told, token_features
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.motiongpt import strings
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.prompt import GuidedSteps, ReadPrompt, bare_of, split
from mld.models.families.motiongpt.vocabulary import MotionVocabulary
from mld.models.generation import GenerationSettings
from mld.models.logits import TokenDecoding

BACKBONES = {"t5": T5Backbone, "gpt2": GPT2Backbone}


class MotionGPT(MotionGenerator, family="motiongpt"):
    """Build one with `create` (to train) or `restore` (to load weights into). text: an encoder whose token features are
    read beside the model's own pieces of words, or none, as published."""

    may_have = ("text",)
    Config = MotionGPTConfig
    published = {"keep_quotes": True, "clamp_codes": True}
    answers = frozenset({*(Shape("motion", clips) for clips in range(3)), Shape("text", 0), Shape("text", 1)})

    def __init__(
        self, config: MotionGPTConfig, tokenizer: MotionTokenizer, vocabulary: MotionVocabulary, lm: torch.nn.Module,
        text: TextEncoder | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.text = text
        self.config, self.vocabulary = config, vocabulary
        self.tokenizer, self.lm = tokenizer.requires_grad_(False).eval(), lm
        separator = vocabulary.text_ids(prompts.SEPARATOR) if lm.needs_separator else []
        self.separator = separator or [vocabulary.eos_id]

    @classmethod
    def create(cls, config: MotionGPTConfig, parts: Parts, corpus: Sequence[str]) -> MotionGPT:
        """A model to train. corpus: captions, needed when the text tokenizer is to be trained."""
        config, tokenizer, text = copy.deepcopy(config), parts["tokenizer"], parts.get("text")
        check(tokenizer)
        check_told(config.word_dropout, text)
        backbone, weights = _backbone_class(config.lm.backbone), None
        if config.lm.pretrained:
            folder = pretrained_folder(config.lm.pretrained)
            description, weights = read_pretrained(folder)
            with fitting(folder):
                weights = backbone.prepare_weights(weights)
                sizes = backbone.architecture_of(description, weights)
            text_tokenizer = load_text_tokenizer(folder)
        else:
            text_tokenizer = train_text_tokenizer([*corpus, *prompts.WORDINGS * 2], config.lm.text_vocabulary)
            sizes = backbone.complete(config.lm.architecture, len(text_tokenizer))
        vocabulary = MotionVocabulary(text_tokenizer, tokenizer.layout.codebook_size)
        with fitting(config.lm.pretrained) if weights is not None else contextlib.nullcontext():
            lm = _build(config.lm, sizes, vocabulary, text)
        if weights is not None:
            _load_pretrained(lm, weights, config.lm.pretrained)
        lm.resize(vocabulary.size, config.lm.new_token_init)
        config.lm.architecture = lm.architecture
        return cls(config, tokenizer, vocabulary, lm, text)

    @classmethod
    def restore(cls, config: MotionGPTConfig, parts: Parts, folder: Path | None = None) -> MotionGPT:
        if folder is None:
            raise CheckpointError("a motiongpt model needs the folder with its text tokenizer")
        tokenizer, text = parts["tokenizer"], parts.get("text")
        check(tokenizer)
        vocabulary = MotionVocabulary(load_text_tokenizer(folder), tokenizer.layout.codebook_size)
        sizes = _backbone_class(config.lm.backbone).complete(
            {k: v for k, v in config.lm.architecture.items() if k != "vocab_size"}, vocabulary.size
        )
        return cls(config, tokenizer, vocabulary, _build(config.lm, sizes, vocabulary, text), text)

    def save_assets(self, folder: Path) -> None:
        self.vocabulary.save(folder)

    def adopt(self, config: MotionGPTConfig) -> None:
        """Take over what is not architecture: how prompts are drawn in training, how answers are sampled."""
        check_told(config.word_dropout, self.text)
        self.config = replace(copy.deepcopy(config), lm=self.config.lm)

    # training

    @property
    def counts_tokens(self) -> bool:
        return self.config.legacy_token_lengths

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """`gpt_loss`: cross-entropy of the targets, given the prompts."""
        clips = [part for e in batch for part in (*e.prompt, *e.target) if isinstance(part, Clip)]
        codes = dict(zip(map(id, clips), self.tokenize(clips)))
        limit = self.config.lm.max_length
        pairs = [self._training_pair(example, codes) for example in batch]
        prompts = [[*prompt[: limit - len(self.separator)], *self.separator] for prompt, _, _ in pairs]
        answers = [[*answer[: limit - 1], self.vocabulary.eos_id] for _, answer, _ in pairs]
        seen = [self._corrupted(answer) for answer in answers]
        if self.text is None:
            return {"gpt_loss": self.lm.loss(prompts, answers, seen)}
        rows = self._read([words for _, _, words in pairs])
        return {"gpt_loss": self.lm.loss(prompts, answers, seen, rows)}

    def _training_pair(self, example: Example, codes: dict[int, Tensor]) -> tuple[list[int], list[int], str]:
        """Prompt and answer ids, without separator and end of sequence, and what a text encoder reads of the prompt.
        Only training draws variants."""
        config = self.config
        output: Output = "motion" if any(isinstance(part, Clip) for part in example.target) else "text"
        words = prompts.told(example.prompt, output, example.caption)
        if self.training and prompts.chance(config.unsupervised_ratio):
            return (*self._unsupervised_pair(example, codes), "")
        drawn = self.training and bool(said(example.prompt))
        silent = drawn and output == "motion" and prompts.chance(config.text_dropout)
        unseen = silent or (drawn and self.text is not None and prompts.chance(config.word_dropout))
        named = example.num_frames and output == "motion" and self.training
        named = named and prompts.chance(config.length_prompt_probability)
        quote = config.quote_probability if self.training else 0.0
        asked = prompts.without_words(example.prompt, example.caption) if unseen else example.prompt
        quoted = [prompts.quoted(parts, quote) for parts in (asked, example.target)]
        prompt = self._formatted(quoted[0], output, example.num_frames if named else None)
        return self._ids(prompt, codes), self._ids(quoted[1], codes), "" if silent else words

    def _corrupted(self, answer: list[int]) -> list[int]:
        """The answer as the model sees it in training: a random share of its codes is replaced by random ones."""
        if not self.training or self.config.input_corruption == 0:
            return answer
        ids, first, count = torch.tensor(answer), self.vocabulary.text_size, self.vocabulary.codebook_size
        share = float(torch.rand(())) * self.config.input_corruption
        struck = (torch.rand(ids.shape) < share) & (ids >= first) & (ids < first + count)
        return torch.where(struck, first + torch.randint(count, ids.shape), ids).tolist()

    def _unsupervised_pair(self, example: Example, codes: dict[int, Tensor]) -> tuple[list[int], list[int]]:
        """One segment of the example, corrupted (t5) or as it is with an empty prompt (gpt2)."""
        parts = [part for part in (*example.target, *example.prompt) if not getattr(part, "verbatim", False)]
        parts = parts or list(example.target)
        ids = self._ids([parts[int(torch.randint(len(parts), ()))]], codes)
        if self.lm.needs_separator or len(ids) < 2:
            return [], ids
        ids = ids[: self.config.lm.max_length - 1]
        rng = np.random.RandomState(int(torch.randint(2**31 - 1, ())))
        mask = strings.noise_mask(len(ids), rng)
        prompt, answer = strings.span_corruption(ids, mask, self.vocabulary.first_sentinel, self.vocabulary.eos_id)
        return prompt[:-1], answer[:-1]

    # prompts and answers

    def prompt(
        self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None
    ) -> list[int] | ReadPrompt:
        """Ids that ask for an answer, separator included; with a text encoder, behind features of the words."""
        clips = [part for part in prompt if isinstance(part, Clip)]
        codes = dict(zip(map(id, clips), self.tokenize(clips)))
        named = num_frames if self.config.length_prompt_probability > 0 and output == "motion" else None

        def ids(asked: Sequence[Segment]) -> list[int]:
            return [*self._ids(self._formatted(asked, output, named), codes), *self.separator]

        guided = self.config.guidance_scale != 1 and bool(said(prompt)) and output == "motion"
        if self.text is None and not guided:
            return ids(prompt)
        read: Sequence[Tensor | None] = (None, None)
        if self.text is not None:
            read = self._read([prompts.told(prompt, output), *([""] if guided else [])])
        bare = ReadPrompt(ids(prompts.without_words(prompt)), read[1]) if guided else None
        return ReadPrompt(ids(prompt), read[0], bare)

    def _read(self, texts: Sequence[str]) -> list[Tensor]:
        """Token features (S, Z) of texts, as far as `lm.max_length` reaches."""
        return [row[: self.config.lm.max_length] for row in token_features(self.text, texts, self.device)]

    def unknown_words(self, text: str) -> tuple[str, int]:
        return unknown_words(text, self.vocabulary.letters)

    def longest_prompt(self, output: Output) -> int:
        return self.config.lm.max_length

    def grammar(self, output: Output, num_codes: int | None = None) -> grammar.Grammar:
        """What an answer may look like under the settings for this output."""
        if not self.settings(output).constrain:
            return grammar.Free(self.vocabulary)
        if output == "text":
            return grammar.TextGrammar(self.vocabulary)
        return grammar.MotionGrammar(self.vocabulary, num_codes)

    def settings(self, output: Output) -> GenerationSettings:
        return self.config.motion_generation if output == "motion" else self.config.text_generation

    def most_tokens(self) -> int:
        return self.config.motion_generation.max_length - 2  # start and end of the motion

    def steps(self, prompts: Sequence[list[int] | ReadPrompt]) -> LogitSteps:
        """The language model's logits, prompts read: `.step(ids) -> logits (B, V)`, `.keep(rows)`."""
        own, bare = self.lm.start(*split(prompts)), bare_of(prompts)
        twins = [twin for twin in bare if twin is not None]
        if not twins:
            return own
        guided = torch.tensor([twin is not None for twin in bare], device=self.device)
        return GuidedSteps(own, self.lm.start(*split(twins)), guided, self.config.guidance_scale)

    def start(
        self, prompts: Sequence[list[int] | ReadPrompt], output: Output, counts: Sequence[int | None]
    ) -> TokenDecoding:
        grammars = [self.grammar(output, count) for count in counts]
        return TokenDecoding(self.steps(prompts), grammars, self.settings(output))

    def read_motion(self, tokens: Tensor) -> Tensor:
        """Codes (L,) of an answer; start, end and hidden codes are dropped, or with `clamp_codes` those inside read as
        the last code. An answer cut off before its end is read
        as far as it goes. Empty when there is no motion."""
        vocabulary = self.vocabulary
        ids = tokens.tolist()
        if vocabulary.start_id in ids:
            ids = ids[ids.index(vocabulary.start_id) + 1 :]
            ids = ids[: ids.index(vocabulary.end_id)] if vocabulary.end_id in ids else ids
        numbers = [i - vocabulary.text_size for i in ids if i >= vocabulary.text_size]
        if self.config.clamp_codes:
            numbers = [min(number, vocabulary.codebook_size - 1) for number in numbers]
        codes = [number for number in numbers if number < vocabulary.codebook_size]
        return torch.tensor(codes, dtype=torch.long)

    def read_text(self, tokens: Tensor) -> str:
        """Text of an answer; a motion in it becomes `<Motion_Placeholder>`, quotes around the whole are dropped unless
        `keep_quotes`."""
        text = self.vocabulary.decode(tokens.tolist())
        text = strings.motion_string_to_token(text, self.vocabulary.codebook_size)[1]
        return text if self.config.keep_quotes else prompts.unquoted(text)

    def _formatted(self, prompt: Sequence[Segment], output: Output, frames: int | None) -> list[Segment]:
        if frames is not None and self.config.legacy_token_lengths:
            frames //= self.tokenizer.layout.frames_per_token
        return prompts.fixed_prompt(prompt, output, frames)

    def _ids(self, parts: Sequence[Segment], codes: dict[int, Tensor]) -> list[int]:
        """Ids of segments. Neighbouring texts are read as one; neighbouring clips with a gap between them become one
        motion with hidden codes."""
        ids: list[int] = []
        previous: Clip | None = None
        joined = prompts.merged(parts)
        for i, part in enumerate(joined):
            if isinstance(part, str):
                ids += self.vocabulary.text_ids(part, after_motion=i > 0, before_motion=i + 1 < len(joined))
                previous = None
                continue
            motion = self.vocabulary.motion_ids(codes[id(part)])
            gap = self._hidden_codes(previous, part, codes) if previous is not None else 0
            ids = [*ids[:-1], *[self.vocabulary.mask_id] * gap, *motion[1:]] if gap > 0 else [*ids, *motion]
            previous = part
        return ids

    def _hidden_codes(self, before: Clip, after: Clip, codes: dict[int, Tensor]) -> int:
        """Codes needed for the frames between two clips, rounded up."""
        step = self.tokenizer.layout.frames_per_token
        frames = after.start - before.start - step * len(codes[id(before)])
        return -(-frames // step)


def check(tokenizer: MotionTokenizer) -> None:
    """`ConfigError` for a tokenizer whose tokens are no codes of so many frames each."""
    if not (tokenizer.layout.codebook_size and tokenizer.layout.frames_per_token):
        raise ConfigError(f"motiongpt needs codes, as of tokenizer 'vqvae', not '{tokenizer.family}'")


def _backbone_class(name: str):
    if name not in BACKBONES:
        raise ConfigError(f"lm.backbone '{name}' is not one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def _build(
    config: LanguageModelConfig, sizes: dict[str, Any], vocabulary: MotionVocabulary, text: TextEncoder | None
) -> torch.nn.Module:
    extra: dict[str, Any] = {"mask_prompt": config.mask_prompt} if config.backbone == "gpt2" else {}
    if text is not None:
        if config.backbone != "t5":
            raise ConfigError(f"text_encoder: backbone '{config.backbone}' reads no features; leave it out, or use t5")
        extra["rows"] = text.width
    return _backbone_class(config.backbone)(sizes, vocabulary.pad_id, **extra)


def _load_pretrained(lm: torch.nn.Module, weights: dict[str, Tensor], name: str) -> None:
    new = {key: value for key, value in lm.state_dict().items() if key.startswith("read.")}  # of features: to be learnt
    try:
        lm.load_state_dict({**new, **weights})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"pretrained language model '{name}' does not fit: {reason}") from error
