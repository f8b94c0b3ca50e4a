"""Published checkpoints into our families: a key map as data, sizes from the shapes, nothing left over.

Every tensor of the file is loaded, ignored by a rule of the key map, or unexpected; every tensor of our network is
loaded, provided by us, or missing. Anything missing or unexpected is a refusal that lists it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.backbones.vocabulary import EXTRA, MotionVocabulary
from mld.models.base import Network
from mld.models.motiongpt import BACKBONES, LanguageModelConfig, MotionGPT, MotionGPTConfig
from mld.models.safe_pickle import read_state_dict
from mld.models.settings import describe
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.base import get_representation, representation_of_width

TEXT_TOKENIZER = "google/flan-t5-base"
KEPT = ("feature_mean", "feature_std", "latent_scale", "fake_latent")  # as they are where no file has them


@dataclass
class Coverage:
    """What became of every tensor. ignored counts keys by the rule that took them; notes are for the reader."""

    loaded: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        lines = [f"loaded      {len(self.loaded)}", f"ignored     {sum(self.ignored.values())}"]
        lines += [f"              {count} by {rule}" for rule, count in self.ignored.items()]
        for name in ("missing", "unexpected"):
            keys = getattr(self, name)
            lines += [f"{name.ljust(12)}{len(keys)}", *(f"              {key}" for key in keys)]
        return "\n".join((*lines, *(f"note: {note}" for note in self.notes)))

    def require_complete(self, file: Path) -> None:
        """`CheckpointError` with the list when anything is missing or unexpected."""
        if self.missing or self.unexpected:
            raise CheckpointError(f"{file} does not fit:\n{self.report()}")


@dataclass(frozen=True)
class KeyMap:
    """prefixes: theirs -> ours, the first that fits counts. ignored: patterns. provided: ours that no file has."""

    prefixes: Mapping[str, str]
    ignored: tuple[str, ...]
    provided: frozenset[str]

    @classmethod
    def load(cls, family: str) -> KeyMap:
        text = resources.files("mld.models").joinpath(f"keymaps/{family}.yaml").read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        return cls(data["prefixes"], tuple(data["ignored"]), frozenset(data["provided"]))

    def translate(self, state: Mapping[str, Tensor], coverage: Coverage) -> dict[str, Tensor]:
        """Tensors under our names; `coverage` learns what was ignored and what is unexpected."""
        own: dict[str, Tensor] = {}
        for key, value in state.items():
            rule = next((pattern for pattern in self.ignored if re.search(pattern, key)), None)
            prefix = next((prefix for prefix in self.prefixes if key.startswith(prefix)), None)
            if rule is not None:
                coverage.ignored[rule] += 1
            elif prefix is None:
                coverage.unexpected.append(key)
            else:
                own[self.prefixes[prefix] + key.removeprefix(prefix)] = value
        return own

    def published(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors under our names as they are called in published files; where there are several names, the first."""
        theirs: dict[str, str] = {}
        for prefix, ours in self.prefixes.items():
            theirs.setdefault(ours, prefix)
        found = {key: next(ours for ours in theirs if key.startswith(ours)) for key in own}
        return {theirs[ours] + key.removeprefix(ours): own[key] for key, ours in found.items()}


def import_motiongpt(
    file: Path, stats: Path, tokenizer_only: bool = False, text_tokenizer: str = TEXT_TOKENIZER
) -> tuple[Network, Coverage]:
    """A published VQ-VAE or language model checkpoint as `VQVAE` or `MotionGPT`.

    stats: folder with mean.npy and std.npy of the training. A file without a language model gives the tokenizer."""
    keymap, coverage = KeyMap.load("motiongpt"), Coverage()
    own = keymap.translate(read_state_dict(file), coverage)
    tokenizer = _tokenizer(part(own, "tokenizer."), stats, file)
    words = part(own, "lm.")
    if tokenizer_only or not words:
        coverage.ignored.update({"--tokenizer-only": len(words)} if words else {})
        return fill(tokenizer, "tokenizer.", own, keymap, coverage, file), coverage
    model = _model(tokenizer, words, text_tokenizer)
    own = {k: v for k, v in own.items() if not k.startswith("lm.")}
    own.update({f"lm.{k}": v for k, v in type(model.lm).prepare_weights(words).items()})
    return fill(model, "", own, keymap, coverage, file), coverage


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def fill(
    network: Network, prefix: str, weights: Mapping[str, Tensor], keymap: KeyMap, coverage: Coverage, file: Path
) -> Network:
    """Load what fits; refuse when anything is missing, unexpected or of another shape."""
    state = network.state_dict()
    wanted = {prefix + key: value for key, value in state.items()}
    for key, value in weights.items():
        if prefix and not key.startswith(prefix):
            continue
        if key not in wanted:
            coverage.unexpected.append(key)
        elif value.shape != wanted[key].shape:
            coverage.unexpected.append(f"{key} of shape {tuple(value.shape)}, {tuple(wanted[key].shape)} is needed")
        else:
            coverage.loaded.append(key)
    coverage.missing += [key for key in wanted if key not in weights and key not in keymap.provided]
    coverage.require_complete(file)
    kept = {key: value for key, value in state.items() if key.endswith(KEPT)}
    network.load_state_dict({**kept, **{key.removeprefix(prefix): weights[key] for key in coverage.loaded}})
    return network.eval()


def _tokenizer(weights: Mapping[str, Tensor], stats: Path, file: Path) -> VQVAE:
    config = vqvae_config(weights, file)
    if "quantizer.codebook" in weights and not weights["quantizer.codebook"].any():
        raise CheckpointError(f"{file}: the codebook is all zero; this tokenizer was never trained")
    representation = get_representation(config.representation)
    return VQVAE(config, Normalizer.load(stats, "guo_eval").check(representation))


def vqvae_config(weights: Mapping[str, Tensor], file: Path) -> VQVAEConfig:
    """Sizes of a published VQ-VAE. Dilation growth (3) and activation (relu) do not show in shapes."""
    first = weights.get("encoder.model.0.weight")
    book = weights.get("quantizer.codebook", weights.get("quantizer.embedding.weight"))
    if first is None or book is None:
        raise CheckpointError(f"{file}: no motion tokenizer in it (keys vae.encoder..., vae.quantizer...)")
    representation = representation_of_width(first.shape[1])
    if representation is None:
        raise CheckpointError(f"{file}: made for {first.shape[1]} features; no representation has that width")
    norm = None
    if "encoder.model.2.1.model.0.norm1.weight" in weights:
        norm = "BN" if "encoder.model.2.1.model.0.norm1.running_mean" in weights else "LN"
    return VQVAEConfig(
        representation=representation.name,
        quantizer="ema_reset" if "quantizer.codebook" in weights else "orig",
        codebook_size=book.shape[0], code_dim=book.shape[1], width=first.shape[0],
        down_t=count(weights, r"encoder\.model\.(\d+)\.0\.weight"),
        depth=count(weights, r"encoder\.model\.2\.1\.model\.(\d+)\.conv1\.weight"), norm=norm,
    )  # fmt: skip


def _model(tokenizer: VQVAE, weights: Mapping[str, Tensor], text_tokenizer: str) -> MotionGPT:
    backbone = "t5" if "shared.weight" in weights else "gpt2"
    sizes = t5_sizes(weights) if backbone == "t5" else gpt2_sizes(weights)
    words = load_text_tokenizer(pretrained_folder(text_tokenizer, weights=False))
    rows, codes = sizes.pop("vocab_size"), tokenizer.codebook_size
    if len(words) + codes + EXTRA != rows:
        raise CheckpointError(
            f"the language model has {rows} vocabulary rows, but text tokenizer '{text_tokenizer}' with {len(words)} "
            f"and {codes} + {EXTRA} motion tokens make {len(words) + codes + EXTRA}; name the right --text-tokenizer"
        )
    vocabulary = MotionVocabulary(words, codes)
    architecture = BACKBONES[backbone].complete(sizes, vocabulary.size)
    config = MotionGPTConfig(
        tokenizer=describe(tokenizer), lm=LanguageModelConfig(backbone=backbone, architecture=architecture)
    )
    return MotionGPT(config, tokenizer, vocabulary, BACKBONES[backbone](architecture, vocabulary.pad_id))


def t5_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Architecture of a T5 from its state dict, `vocab_size` included."""
    bias = weights["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in weights
    inner = weights[f"encoder.block.0.layer.1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight"]
    head, shared = weights.get("lm_head.weight"), weights["shared.weight"]
    return {
        "vocab_size": shared.shape[0], "d_model": shared.shape[1], "d_ff": inner.shape[0],
        "num_heads": bias.shape[1], "relative_attention_num_buckets": bias.shape[0],
        "d_kv": weights["encoder.block.0.layer.0.SelfAttention.q.weight"].shape[0] // bias.shape[1],
        "num_layers": count(weights, r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight"),
        "num_decoder_layers": count(weights, r"decoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight"),
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "scale_decoder_outputs": not gated and (head is None or torch.equal(head, shared)),
    }  # fmt: skip


def gpt2_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Architecture of a GPT-2 from its state dict; every published size has heads of 64."""
    rows, width = weights["transformer.wte.weight"].shape
    return {
        "vocab_size": rows, "n_embd": width, "n_head": max(width // 64, 1),
        "n_layer": count(weights, r"transformer\.h\.(\d+)\.ln_1\.weight"),
        "n_positions": weights["transformer.wpe.weight"].shape[0],
    }  # fmt: skip


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers the group of `pattern` takes among the keys."""
    return len({match[1] for key in weights if (match := re.fullmatch(pattern, key))})
