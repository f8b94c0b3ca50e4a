"""Published MotionGPT checkpoints (MotionGPT spec 5): sizes come from the shapes, statistics from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.contracts.network import Network
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, part, representation_for
from mld.models.conversion.settings import overridden, settled
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motiongpt.config import MotionGPTConfig
from mld.models.families.motiongpt.model import BACKBONES, MotionGPT
from mld.models.families.motiongpt.vocabulary import EXTRA, MotionVocabulary
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

TEXT_TOKENIZER = "google/flan-t5-base"
KEYS = Path(__file__).with_name("keymap.yaml")
LAYER_OR_GROUP = "LN or GN"
# What no file tells, with the published values, and the sizes by which a published network is known.
VQVAE_UNTOLD = {"tokenizer.config.activation": "relu", "tokenizer.config.dilation_growth_rate": 3}
PUBLISHED_VQVAE = (512, 512, 3)  # width, code_dim, depth
PUBLISHED_WIDTHS = {"t5": {(512, 1024), (768, 2048), (1024, 2816)}, "gpt2": {768, 1024, 1280, 1600}}


@dataclass
class _Described:
    config: dict[str, Any] = field(default_factory=dict)


def import_motiongpt(
    file: Path, stats: Path, tokenizer_only: bool = False, text_tokenizer: str = TEXT_TOKENIZER,
    settings: Sequence[str] = (), as_published: bool = False,
) -> tuple[Network, Coverage]:
    """A published VQ-VAE or language model checkpoint as `VQVAE` or `MotionGPT`.

    stats: folder with mean.npy and std.npy of the training. A file without a language model gives the tokenizer.
    settings: "key=value" for what names and shapes do not tell: `tokenizer.config.` and a key of `VQVAEConfig`, and of
    a file with a language model keys of `MotionGPTConfig`. as_published: what is not said is as published, whatever
    the sizes."""
    keymap, coverage = KeyMap.load(KEYS), Coverage()
    own = keymap.translate(read_state_dict(file, coverage.notes), coverage)
    told = overridden({}, settings)
    described = told.pop("tokenizer", {})
    codes = part(own, "tokenizer.")
    tokenizer = _tokenizer(codes, stats, file, described)
    sizes = tokenizer.config
    published = (sizes.width, sizes.code_dim, sizes.depth) == PUBLISHED_VQVAE
    settled(VQVAE_UNTOLD, settings, file, coverage.notes, published, as_published)
    words = part(own, "lm.")
    if tokenizer_only or not words:
        if told:
            raise ConfigError(f"--set {', '.join(told)}: of a language model, and only the tokenizer is imported")
        coverage.ignored.update({"--tokenizer-only": len(words)} if words else {})
        return fill(tokenizer, "tokenizer.", own, keymap, coverage, file), coverage
    settled(*_untold(words, settings), file, coverage.notes, _is_published(words), as_published)
    model = _model(tokenizer, words, text_tokenizer, told)
    own = {k: v for k, v in own.items() if not k.startswith("lm.")}
    own.update({f"lm.{k}": v for k, v in type(model.lm).prepare_weights(words).items()})
    return fill(model, "", own, keymap, coverage, file), coverage


def _tokenizer(
    weights: Mapping[str, Tensor], stats: Path, file: Path, described: Mapping[str, Any]
) -> VQVAE:
    """described: what `--set tokenizer...` says, {"config": {...}}."""
    found = asdict(vqvae_config(weights, file))
    given = typed(_Described, described, "--set tokenizer").config
    if found["norm"] == LAYER_OR_GROUP and given.get("norm") not in ("LN", "GN"):
        raise CheckpointError(
            f"{file}: has normalisation layers, and layer and group norm look alike; name the one it was trained with: "
            f"--set tokenizer.config.norm=LN or GN"
        )
    config = typed(VQVAEConfig, {**found, **given}, "--set tokenizer.config")
    if "quantizer.codebook" in weights and not weights["quantizer.codebook"].any():
        raise CheckpointError(f"{file}: the codebook is all zero; this tokenizer was never trained")
    representation = get_representation(config.representation)
    return VQVAE(config, Normalizer.load(stats, "guo_eval").check(representation))


def vqvae_config(weights: Mapping[str, Tensor], file: Path) -> VQVAEConfig:
    """Sizes of a published VQ-VAE. Dilation growth (3) and activation (relu) do not show in shapes, and of norms with
    weights alone not which they are (`LAYER_OR_GROUP`)."""
    first = weights.get("encoder.model.0.weight")
    book = weights.get("quantizer.codebook", weights.get("quantizer.embedding.weight"))
    if first is None or book is None:
        raise CheckpointError(f"{file}: no motion tokenizer in it (keys vae.encoder..., vae.quantizer...)")
    norm = None
    if "encoder.model.2.1.model.0.norm1.weight" in weights:
        norm = "BN" if "encoder.model.2.1.model.0.norm1.running_mean" in weights else LAYER_OR_GROUP
    return VQVAEConfig(
        representation=representation_for(first.shape[1], file),
        quantizer="ema_reset" if "quantizer.codebook" in weights else "orig",
        codebook_size=book.shape[0], code_dim=book.shape[1], width=first.shape[0],
        down_t=count(weights, r"encoder\.model\.(\d+)\.0\.weight"),
        depth=count(weights, r"encoder\.model\.2\.1\.model\.(\d+)\.conv1\.weight"), norm=norm,
    )  # fmt: skip


def _model(
    tokenizer: VQVAE, weights: Mapping[str, Tensor], text_tokenizer: str, told: Mapping[str, Any]
) -> MotionGPT:
    backbone, sizes = _sizes(weights)
    words = load_text_tokenizer(pretrained_folder(text_tokenizer, weights=False))
    rows, codes = sizes.pop("vocab_size"), tokenizer.layout.codebook_size
    if len(words) + codes + EXTRA != rows:
        raise CheckpointError(
            f"the language model has {rows} vocabulary rows, but text tokenizer '{text_tokenizer}' with {len(words)} "
            f"and {codes} + {EXTRA} motion tokens make {len(words) + codes + EXTRA}; name the right --text-tokenizer"
        )
    vocabulary = MotionVocabulary(words, codes)
    settings = typed(MotionGPTConfig, told, "--set")
    sizes |= settings.lm.architecture
    architecture = BACKBONES[backbone].complete(sizes, vocabulary.size)
    config = replace(settings, lm=replace(settings.lm, backbone=backbone, architecture=architecture))
    return MotionGPT(config, tokenizer, vocabulary, BACKBONES[backbone](architecture, vocabulary.pad_id))


def _sizes(weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """The backbone and its architecture as far as shapes tell."""
    backbone = "t5" if "shared.weight" in weights else "gpt2"
    return backbone, t5_sizes(weights) if backbone == "t5" else gpt2_sizes(weights)


def _untold(weights: Mapping[str, Tensor], settings: Sequence[str]) -> tuple[dict[str, Any], Sequence[str]]:
    """What the weights of a language model do not tell, with the published values."""
    backbone, sizes = _sizes(weights)
    if backbone == "gpt2":
        names = {"n_head": sizes["n_head"] if sizes["n_embd"] % 64 == 0 else None, "activation_function": "gelu_new"}
    else:
        names = {"feed_forward_proj": sizes["feed_forward_proj"], "relative_attention_max_distance": 128}
        head = weights.get("lm_head.weight")
        if head is None or torch.equal(head, weights["shared.weight"]):
            names["scale_decoder_outputs"] = sizes["scale_decoder_outputs"]
    return {f"lm.architecture.{name}": value for name, value in names.items()}, settings


def _is_published(weights: Mapping[str, Tensor]) -> bool:
    backbone, sizes = _sizes(weights)
    found = (sizes["d_model"], sizes["d_ff"]) if backbone == "t5" else sizes["n_embd"]
    return found in PUBLISHED_WIDTHS[backbone]


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
