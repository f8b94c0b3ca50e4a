"""MotionGPT3: text and motion as two branches of one GPT-2; a clip is a latent of a frozen VAE (MotionGPT3 spec 3).

In a row of ids a clip is a few placeholders (`holders`). Given clips are embedded into theirs; the hidden
states of wanted ones condition a diffusion head, so a motion is one forward pass and one run of the head. Text is
decoded token by token. Sampling of tokens and decoding of latents are the engine's work.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Example, Segment, said
from mld.models import grammar, prompts
from mld.models.backbones.layers import IGNORE, LogitSteps, WordReader
from mld.models.backbones.mot_gpt2 import Block, MoTGPT2
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import load_text_tokenizer, train_causal_tokenizer, unknown_words
from mld.models.contracts.generator import MotionGenerator, Output, Shape
from mld.models.contracts.network import Parts
from mld.models.contracts.text_encoder import TextEncoder, check_told, token_features
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.families.motiongpt3.batch import Batch, Collator
from mld.models.families.motiongpt3.boundary_rows import BoundaryRows, keep_in_table
from mld.models.families.motiongpt3.config import GROUPS, MotionGPT3Config
from mld.models.families.motiongpt3.decoding import ClipDenoising, TwoBranchDecoding
from mld.models.families.motiongpt3.latents import MotionUndHead, encoded
from mld.models.families.motiongpt3.layout import Latents, Layout, Prompt, Row
from mld.models.families.motiongpt3.start_point import load_start_point
from mld.models.families.motiongpt3.vocabulary import BOUNDARIES, HolderVocabulary
from mld.models.generation import GenerationSettings
from mld.models.heads.diffusion import DiffusionHead, StepHook
from mld.models.heads.length import LengthHead
from mld.models.logits import TokenDecoding
from mld.models.prompts import named_frames
from mld.motion.representations.registry import get_representation

VALIDATION_SEED = 0
WORDS_STD = 0.1  # of embedded features at the start; ids have 0.02
STRUCTURE = ("input_holders", "output_holders", "boundaries", "holder_layout", "condition_norm")
LM_STRUCTURE = ("pretrained", "architecture", "text_vocabulary", "init_motion_branch")


class MotionGPT3(MotionGenerator, family="motiongpt3"):
    """Build one with `create` (to train) or `restore` (to load weights into). text: an encoder whose token features are
    read before the model's own pieces of words, or none, as published."""

    may_have = ("text",)
    Config = MotionGPT3Config
    published = {"keep_quotes": True, "prompt_style": "upstream_test", "sample_latents": True}
    shard_units = (Block,)
    answers = frozenset({*(Shape("motion", clips) for clips in range(3)), Shape("text", 0), Shape("text", 1)})
    loss_weights: ClassVar[dict[str, float]] = {"gpt_loss": 1.0, "diff_loss": 0.5, "length_loss": 1.0}

    def __init__(
        self, config: MotionGPT3Config, tokenizer: MotionTokenizer, vocabulary: HolderVocabulary, lm: MoTGPT2,
        text: TextEncoder | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check(config, tokenizer, lm)
        self.text = text
        self.vocabulary, self.language_model = vocabulary, lm
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        self.fps = get_representation(tokenizer.representation).fps
        self.latent_shape = (tokenizer.layout.tokens_per_clip, tokenizer.layout.channels)
        width, holders = lm.architecture["n_embd"], config.output_holders
        self.motion_und_head = MotionUndHead(self.latent_shape, config.input_holders, width)
        size, channels = self.latent_shape
        self.diffloss = DiffusionHead(config.head, channels, size, width, holders)
        self.word_reader = None if text is None else WordReader(text.width, width, WORDS_STD)
        self.fake_latent = nn.Parameter(torch.zeros(holders, width))  # the condition of no condition
        if config.condition_norm:
            self.norm_layer = nn.LayerNorm(width, eps=1e-6)
            self.diffusion_pos_embed_learned = nn.Parameter(torch.randn(1, holders, width) * 0.02)
        self.length_head: LengthHead | None = None
        self.boundary_rows: BoundaryRows | None = None
        keep_in_table(self, "boundary_rows")
        self._apply_settings(config)

    @classmethod
    def create(cls, config: MotionGPT3Config, parts: Parts, corpus: Sequence[str]) -> MotionGPT3:
        """A model to train. corpus: sentences, needed when the text tokenizer is to be trained."""
        config = copy.deepcopy(config)
        config.check()
        check_told(config.word_dropout, parts.get("text"))
        if config.lm.pretrained:
            folder = pretrained_folder(config.lm.pretrained)
            vocabulary = HolderVocabulary(load_text_tokenizer(folder))
            lm = load_start_point(folder, config.lm.init_motion_branch, config.lm.architecture)
            lm.resize_text(vocabulary.size)
            lm.architecture["text_pad_id"] = vocabulary.eos_id
        else:
            lines = [f"{line} \n {line}" for line in (*corpus, *prompts.WORDINGS * 2)]
            vocabulary = HolderVocabulary(train_causal_tokenizer(lines, config.lm.text_vocabulary))
            lm = MoTGPT2(MoTGPT2.complete(config.lm.architecture, vocabulary.size, vocabulary.eos_id))
        config.lm.architecture = lm.architecture
        return cls(config, parts["tokenizer"], vocabulary, lm, parts.get("text"))

    @classmethod
    def restore(cls, config: MotionGPT3Config, parts: Parts, folder: Path | None = None) -> MotionGPT3:
        if folder is None:
            raise CheckpointError("a motiongpt3 model needs the folder with its text tokenizer")
        vocabulary = HolderVocabulary(load_text_tokenizer(folder))
        sizes = MoTGPT2.complete(config.lm.architecture, vocabulary.size, vocabulary.eos_id)
        return cls(config, parts["tokenizer"], vocabulary, MoTGPT2(sizes), parts.get("text"))

    def save_assets(self, folder: Path) -> None:
        self.vocabulary.save(folder)

    def train(self, mode: bool = True) -> MotionGPT3:
        """The VAE stays in eval mode unless `vae_train_dropout`; its weights are frozen either way."""
        super().train(mode)
        self.tokenizer.train(mode and self.config.vae_train_dropout)
        return self

    def adopt(self, config: MotionGPT3Config) -> None:
        """Take over what is not structure: losses, what is frozen, how prompts are drawn and answers sampled. A length
        head comes and goes with its setting."""
        config.check()
        check_told(config.word_dropout, self.text)
        old, config = self.config, copy.deepcopy(config)
        kept = {name: getattr(old, name) for name in STRUCTURE}
        lm = replace(config.lm, **{name: getattr(old.lm, name) for name in LM_STRUCTURE})
        head = replace(
            old.head, num_inference_steps=config.head.num_inference_steps, sampler=config.head.sampler
        )  # fmt: skip
        self._apply_settings(replace(config, lm=lm, head=head, **kept))

    def _apply_settings(self, config: MotionGPT3Config) -> None:
        self.config = config
        self.layout = Layout(self.vocabulary, config)
        chunk_major = config.holder_layout == "chunk_major"
        self.collate = Collator(self.vocabulary, self.latent_shape, config.input_holders, chunk_major)
        self.language_model.gradient_checkpointing = config.lm.gradient_checkpointing
        self.diffloss.config = config.head
        self.diffloss.respace(config.head.num_inference_steps)
        if not config.length_head:
            self.length_head = None
        elif self.length_head is None:
            self.length_head = LengthHead(self.language_model.architecture["n_embd"]).to(self.device)
        self._freeze(set(config.frozen))

    def _freeze(self, frozen: set[str]) -> None:
        """With the text branch frozen and the motion branch not, the boundary rows of the text table are trained."""
        table = self.language_model.transformer["wte"].weight
        if self.boundary_rows is not None:
            table.data[self.boundary_rows.first :] = self.boundary_rows.weight.data
            self.boundary_rows = None
        if "text" in frozen and "motion" not in frozen:
            self.boundary_rows = BoundaryRows(table, BOUNDARIES)
        for name, parameters in self._groups().items():
            for parameter in parameters:
                parameter.requires_grad_(name not in frozen or parameter is getattr(self.boundary_rows, "weight", None))

    def _groups(self) -> dict[str, list[nn.Parameter]]:
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in GROUPS}
        for name, parameter in self.named_parameters():
            if not name.startswith("tokenizer."):
                groups[_group(name)].append(parameter)
        return groups

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that are trained, by "text", "motion" and "head" (all that is not the language model)."""
        return {name: [p for p in group if p.requires_grad] for name, group in self._groups().items()}

    # what a row of ids becomes

    def text_embeddings(self, ids: Tensor) -> Tensor:
        """Ids of text (B, T) -> embeddings (B, T, Z), without positions."""
        embeddings = self.language_model.embed(ids, 0)
        if self.boundary_rows is None:
            return embeddings
        return self.boundary_rows.embed(ids, torch.ones_like(ids, dtype=torch.bool), embeddings)

    def embeddings(self, batch: Batch) -> Tensor:
        """(B, T, Z), without positions; given clips stand in their placeholders, features of words before all else."""
        embeddings = self.language_model.embed(batch.own_ids, batch.types)
        if self.boundary_rows is not None:
            embeddings = self.boundary_rows.embed(batch.own_ids, batch.types == 0, embeddings)
        if batch.rows is not None:
            read = self.word_reader(batch.rows.to(embeddings.dtype)).to(embeddings.dtype)
            embeddings = embeddings.flatten(0, 1).index_copy(0, batch.told, read).view_as(embeddings)
        if not len(batch.inputs):
            return embeddings
        chunks = self.motion_und_head(batch.given).to(embeddings.dtype)[batch.chunks]
        return embeddings.flatten(0, 1).index_copy(0, batch.inputs, chunks).view_as(embeddings)

    def hidden(self, batch: Batch, padding: bool = False) -> Tensor:
        """Last hidden states (B, T, Z) of rows padded on the right. padding: those of padding are needed as well."""
        types = batch.types if padding else batch.computed
        return self.language_model(self.embeddings(batch), types, batch.mask)

    def text_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., Z) of text -> logits (..., V) float32 over text ids, boundaries last."""
        logits = self.language_model.text_logits(hidden)
        return logits if self.boundary_rows is None else self.boundary_rows.logits(hidden, logits)

    def conditions(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Hidden states of the output placeholders (M, K, Z), one row per wanted clip."""
        holders = self.config.output_holders
        found = hidden.flatten(0, 1)[batch.outputs].reshape(-1, holders, hidden.shape[-1])
        if self.config.condition_norm:
            found = self.norm_layer(found) + self.diffusion_pos_embed_learned
        return found

    # training

    def loss(self, batch: Sequence[Example], progress: float = 0.0) -> dict[str, Tensor]:
        """`gpt_loss`: cross-entropy of text, the start of a motion and the end; `diff_loss`: of the diffusion head for
        the wanted clips, 0 without any; `length_loss` with a length head."""
        config = self.config
        latents = self._latents([part for e in batch for part in (*e.prompt, *e.target) if isinstance(part, Clip)])
        words = self._words([prompts.told(e.prompt, _output(e), e.caption) for e in batch])
        rows = [self._row(example, latents, read) for example, read in zip(batch, words)]
        data = self.collate(rows, self.device, config.lm.max_length if config.ce_on_padding else 0)
        hidden = self.hidden(data, config.ce_on_padding)
        conditions = self.conditions(data, hidden)
        labels = self.collate.labels(data, config.ce_on_padding, not config.mask_prompt)
        terms = {
            "gpt_loss": self.text_loss(data, hidden, labels),
            "diff_loss": self.diffusion_loss(conditions, data.wanted),
        }
        if self.length_head is not None:
            terms["length_loss"] = self.length_head.loss(conditions, data.frames / self.fps)
        return terms

    def _words(self, texts: Sequence[str]) -> Sequence[Tensor | None]:
        """Token features (R, Z) of texts, which leave half of a row to the rest; none without a text encoder."""
        if self.text is None:
            return [None] * len(texts)
        return [row[: self.config.lm.max_length // 2] for row in token_features(self.text, texts, self.device)]

    def _row(self, example: Example, latents: Latents, words: Tensor | None = None) -> Row:
        """Only training draws variants of a prompt."""
        config, training, output = self.config, self.training, _output(example)
        named = training and output == "motion" and example.num_frames
        named = named and prompts.chance(config.length_prompt_probability)
        quote = config.quote_probability if training else 0.0
        asked: Sequence[Segment] = example.prompt
        if training and words is not None and said(asked) and prompts.chance(config.word_dropout):
            asked = prompts.without_words(asked, example.caption)
        prompt, target = (prompts.quoted(parts, quote, again=False) for parts in (asked, example.target))
        prompt = prompts.fixed_prompt(prompt, output, example.num_frames if named else None)
        return self.layout.row(prompt, target, latents, example.num_frames, config.lm.max_length, words)

    def text_loss(self, batch: Batch, hidden: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy (scalar) of each text token after its predecessor; labels (B, T) as of `Collator.labels`.

        Text that follows motion directly is predicted from zeros, as published: a text state is 0 at motion."""
        targets, text = labels[:, 1:], batch.types == 0
        counted = (targets != IGNORE) & text[:, 1:]
        if not counted.any():
            return hidden.new_zeros((), dtype=torch.float32)
        states = hidden[:, :-1][counted] * text[:, :-1][counted][:, None]
        return F.cross_entropy(self.text_logits(states), targets[counted])

    def diffusion_loss(
        self, conditions: Tensor, wanted: Tensor, drop: Tensor | None = None, t: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of the head over `diffusion_batch_mul` copies of conditions (M, K, Z) and latents (M, S, C).

        drop (N,) bool, t (N,) and noise (N, S, C) of the copies are drawn where they are not given; validation drops no
        condition and has the same draws every time."""
        if not len(wanted):
            return conditions.sum() * 0.0
        copies = self.config.diffusion_batch_mul
        conditions, wanted = conditions.repeat(copies, 1, 1), wanted.repeat(copies, 1, 1)
        count, device = len(wanted), wanted.device
        if not self.training and t is None:
            fixed = torch.Generator().manual_seed(VALIDATION_SEED)
            t = torch.randint(self.config.head.diffusion_steps, (count,), generator=fixed).to(device)
            noise = torch.randn(wanted.shape, generator=fixed).to(device)
        if drop is None and self.training and self.config.condition_dropout > 0:
            drop = torch.rand(count, device=device) < self.config.condition_dropout
        return self.diffloss.loss(wanted, self.dropped(conditions, drop), t, noise).mean()

    def dropped(self, conditions: Tensor, drop: Tensor | None) -> Tensor:
        """Conditions (N, K, Z) with `fake_latent` in the rows of drop (N,)."""
        return conditions if drop is None else torch.where(drop[:, None, None], self.fake_latent, conditions)

    def _latents(self, clips: Sequence[Clip]) -> dict[int, Tensor]:
        sampled = self.training or self.config.sample_latents
        return dict(zip(map(id, clips), encoded(self.tokenizer, clips, sampled, self.device)))

    # prompts and answers

    def tokenize(self, clips: Iterable[Clip]) -> list[Tensor]:
        """Scaled latents (S, C) of each clip, on the CPU; clips without tokens are encoded together."""
        latents = encoded(self.tokenizer, list(clips), self.config.sample_latents, self.device)
        return [latent.cpu() for latent in latents]

    def prompt(self, prompt: Sequence[Segment], output: Output, num_frames: int | None = None) -> Prompt:
        """Ids that ask for an answer, with the placeholders of a wanted motion. Clips may have tokens (S, C) of
        `tokenize`. num_frames: wanted length of the whole motion, which some models are told."""
        named = num_frames if self.config.length_prompt_probability > 0 and output == "motion" else None
        formatted = prompts.fixed_prompt(prompt, output, named)
        clips = [part for part in formatted if isinstance(part, Clip)]
        (words,) = self._words([prompts.told(prompt, output)])
        return self.layout.prompt(formatted, output, dict(zip(map(id, clips), self.tokenize(clips))), words)

    def unknown_words(self, text: str) -> tuple[str, int]:
        return unknown_words(text, self.vocabulary.letters)

    def longest_prompt(self, output: Output) -> int:
        positions = self.language_model.architecture["n_positions"]
        if output == "text":
            positions -= self.config.text_generation.max_length
        return min(self.config.lm.max_length, positions)

    def settings(self, output: Output) -> GenerationSettings:
        """How text is sampled; a motion is not made of tokens."""
        return self.config.text_generation

    def grammar(self, output: Output) -> grammar.Grammar:
        """Text tokens that are neither boundaries nor special, until the end of sequence."""
        kind = grammar.TextGrammar if self.settings(output).constrain else grammar.Free
        return kind(self.vocabulary)

    @property
    def keeps_given(self) -> bool:
        return not self.config.compat_prediction

    def steps(self, prompts: Sequence[Prompt]) -> LogitSteps:
        """The text branch's logits, prompts read: `.step(ids) -> logits (B, V)`, `.keep(rows)`."""
        return TwoBranchDecoding(self, self.collate(prompts, self.device, left=True))

    def start(self, prompts: Sequence[Prompt], output: Output, counts: Sequence[int | None]) -> TokenDecoding:
        return TokenDecoding(self.steps(prompts), [self.grammar(output)] * len(prompts), self.settings(output))

    def denoise(self, prompts: Sequence[Prompt]) -> ClipDenoising:
        return ClipDenoising(self, prompts)

    def read_text(self, tokens: Tensor) -> str:
        """Text of an answer; a motion in it becomes `<Motion_Placeholder>`, quotes around the whole are dropped."""
        text = self.vocabulary.decode(tokens.tolist())
        return text if self.config.keep_quotes else prompts.unquoted(text)

    @torch.no_grad()
    def condition(self, prompts: Sequence[Prompt]) -> Tensor:
        """Hidden states (B, K, Z) of the output placeholders of prompts for motions: one pass."""
        batch = self.collate(prompts, self.device)
        return self.conditions(batch, self.hidden(batch))

    @torch.no_grad()
    def frames(self, prompts: Sequence[Prompt], condition: Tensor, seeds: Sequence[int]) -> list[int]:
        """Length of the whole motion: what its prompt names, else what the length head tells, else a draw from
        `length_range`, in whole units of the tokenizer."""
        unit = self.tokenizer.layout.unit
        named = [named_frames(prompt.text, self.fps) for prompt in prompts]
        if self.length_head is not None:
            units = [round(s * self.fps / unit) for s in self.length_head(condition).tolist()]
        else:
            units = [self._drawn_units(seed) for seed in seeds]
        longest = self.tokenizer.layout.longest or max(unit * count for count in units)
        return [n or min(max(unit * count, unit), longest) for n, count in zip(named, units, strict=True)]

    def _drawn_units(self, seed: int) -> int:
        first, last = (frames // self.tokenizer.layout.unit for frames in self.config.length_range)
        return int(torch.randint(first, last + 1, (), generator=torch.Generator().manual_seed(seed)))

    @torch.no_grad()
    def sample(self, condition: Tensor, seeds: Sequence[int], on_step: StepHook | None = None) -> Tensor:
        """Scaled latents (B, S, C) for conditions (B, K, Z); each row depends on its condition and seed alone."""
        return self.diffloss.sample(
            condition, self.diffloss.draw_noise(seeds), self.config.guidance_scale, self.fake_latent,
            self.config.temperature, on_step,
        )  # fmt: skip


def check(config: MotionGPT3Config, tokenizer: MotionTokenizer, lm: MoTGPT2) -> None:
    """`ConfigError` where the parts do not fit."""
    config.check()
    if tokenizer.layout.codebook_size or tokenizer.layout.frames_per_token:
        raise ConfigError(f"motiongpt3 needs latents of whole clips, as of tokenizer 'vae', not '{tokenizer.family}'")
    positions = lm.architecture["n_positions"]
    if config.lm.max_length > positions:
        raise ConfigError(f"lm.max_length is {config.lm.max_length}, the language model has {positions} positions")


def _output(example: Example) -> Output:
    return "motion" if any(isinstance(part, Clip) for part in example.target) else "text"


def _group(name: str) -> str:
    if name.startswith("boundary_rows."):
        return "text"
    if not name.startswith("language_model."):
        return "head"
    return "text" if ".fn.0." in name or ".wte." in name or ".wpe." in name else "motion"
