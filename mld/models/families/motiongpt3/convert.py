"""Published MotionGPT3 checkpoints into ours, and ours into the published layout (MotionGPT3 spec 4.3, 5.2, 5.3).

All layouts of the released files are read: with a `state_dict`, a nested one or none, with the VAE inside or in a file
of its own, with and without `fake_latent`. Sizes come from the shapes; settings that no shape tells have the published
values and can be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.backbones.mot_gpt2 import MoTGPT2
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, part
from mld.models.conversion.settings import overridden, settled
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motiongpt3.config import MotionGPT3Config
from mld.models.families.motiongpt3.convert_vae import (
    KEYS,
    UNTOLD,
    VAE,
    build_vae,
    is_published,
    scale_note,
    vae_settings,
    vae_weights,
    without_computed_positions,
)
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.families.motiongpt3.start_point import TEXT_TABLE, without_copies
from mld.models.families.motiongpt3.vocabulary import HolderVocabulary
from mld.models.tokenizers.vae import MotionVAEConfig

TEXT_TOKENIZER = "openai-community/gpt2"
# Of the published test configuration, which released numbers were made with; the training configuration has guidance 3.
TESTED = {"prompt_style": "upstream_test", "sample_latents": True, "guidance_scale": 7.5}
LANGUAGE = "language_model."
_NEEDED = (
    "language_model.transformer.wpe.weight", "language_model.transformer.h.0.mlp.fn.1.c_fc.weight",
    "language_model.pre_processors.1.weight", "motion_und_head.layers.weight", "diffloss.net.input_proj.weight",
    "diffloss.net.final_layer.linear.weight",
)  # fmt: skip
_WANTED = ("fake_latent", "diffusion_pos_embed_learned")  # have a row for each holder of a wanted clip


def import_motiongpt3(
    file: Path, stats: Path, vae: Path | None = None, text_tokenizer: str = TEXT_TOKENIZER,
    settings: Sequence[str] = (), as_published: bool = False,
) -> tuple[MotionGPT3, Coverage]:
    """A published MotionGPT3 checkpoint as a model.

    stats: folder with mean.npy and std.npy of the data set. vae: the file whose VAE is to be used instead of the one in
    the checkpoint, if that has one. settings: "key=value" of `MotionGPT3Config` for what shapes do not tell.
    as_published: what is not said is as published, whatever the sizes."""
    keymap, coverage = KeyMap.load(KEYS), Coverage()
    own = keymap.translate(read_state_dict(file, coverage.notes), coverage)
    own = with_one_text_table(_with_vae(own, vae, coverage, file), coverage)
    vocabulary = HolderVocabulary(load_text_tokenizer(pretrained_folder(text_tokenizer, weights=False)))
    config, vae_config = config_of(own, vocabulary, settings, file, text_tokenizer)
    untold = _untold(config)
    published = config.lm.architecture["n_embd"] == 768 and config.head.width == 1024 and is_published(vae_config)
    settled(untold, settings, file, coverage.notes, published, as_published)
    if "fake_latent" not in own:
        _check_unguided(config, coverage, file)
    tokenizer = build_vae(vae_config, stats)
    model = MotionGPT3(config, tokenizer, vocabulary, MoTGPT2(config.lm.architecture))
    fill(model, "", without_computed_positions(own, coverage), keymap, coverage, file)
    coverage.notes += [
        f"attention is shared in layers: {config.lm.architecture['attention_mode']} (--attention-mode)",
        f"{config.lm.architecture['n_head']} heads of {_head_width(config)} (--set lm.architecture.n_head=...)",
        scale_note(tokenizer),
        f"answers as in the published tests: {' '.join(f'{key}={getattr(config, key)}' for key in TESTED)} (--set)",
    ]  # fmt: skip
    return model, coverage


def _with_vae(own: dict[str, Tensor], vae: Path | None, coverage: Coverage, file: Path) -> dict[str, Tensor]:
    """Weights whose VAE is that of the file `vae`, if one is named, else the one they have."""
    inside = part(own, VAE)
    if vae is None and not inside:
        raise CheckpointError(f"{file}: no motion VAE in it (keys vae...); name the file that has it with --vae")
    if vae is None:
        return own
    coverage.ignored.update({"--vae": len(inside)} if inside else {})
    own = {key: value for key, value in own.items() if not key.startswith(VAE)}
    weights = vae_weights(read_state_dict(vae, coverage.notes), coverage, vae)
    return own | {VAE + key: value for key, value in weights.items()}


def with_one_text_table(own: dict[str, Tensor], coverage: Coverage) -> dict[str, Tensor]:
    """Published files have the text table four times; `CheckpointError` when they differ."""
    language = part(own, LANGUAGE)
    kept = without_copies(language)
    if copies := len(language) - len(kept):
        coverage.ignored["copy of the text table, equal"] += copies
    return {k: v for k, v in own.items() if not k.startswith(LANGUAGE)} | {LANGUAGE + k: v for k, v in kept.items()}


def _check_unguided(config: MotionGPT3Config, coverage: Coverage, file: Path) -> None:
    if config.guidance_scale > 1:
        raise ConfigError(
            f"guidance_scale {config.guidance_scale:g} needs fake_latent, which {file} lacks: it was trained without"
        )
    coverage.notes.append("fake_latent is not in the file, which was trained without guidance: zeros")


def _untold(config: MotionGPT3Config) -> dict[str, Any]:
    """What no file tells, with the published values."""
    width = config.lm.architecture["n_embd"]
    pooling = {"head.num_pooling_heads": 4} if config.head.pooling else {}
    return {
        "lm.architecture.n_head": width // 64 if width % 64 == 0 else None,
        "lm.architecture.attention_mode": "all", "lm.architecture.activation_function": "gelu_new",
        **pooling, "head.noise_schedule": "scaled_linear", "head.diffusion_steps": 1000,
        **{f"tokenizer.config.{key}": value for key, value in UNTOLD.items()},
    }  # fmt: skip


def _head_width(config: MotionGPT3Config) -> int:
    return config.lm.architecture["n_embd"] // config.lm.architecture["n_head"]


def config_of(
    own: Mapping[str, Tensor], vocabulary: HolderVocabulary, settings: Sequence[str], file: Path, words: str = ""
) -> tuple[MotionGPT3Config, MotionVAEConfig]:
    """The configs of weights in our names, of model and VAE. words: what the text tokenizer is called, for messages."""
    if LANGUAGE + TEXT_TABLE not in own:
        raise CheckpointError(f"{file}: no language model in it (keys lm.language_model...); 'vae' imports a VAE alone")
    if missing := [key for key in _NEEDED if key not in own]:
        raise CheckpointError(f"{file}: not a whole MotionGPT3 checkpoint, {', '.join(missing)} missing")
    rows = len(own[LANGUAGE + TEXT_TABLE])
    if vocabulary.size != rows:
        raise CheckpointError(
            f"the text table has {rows} rows, but text tokenizer '{words}' and the two tokens around a motion make "
            f"{vocabulary.size}; name the right --text-tokenizer"
        )
    values = overridden(_settings_in(own, file), settings)
    values["lm"]["architecture"] = MoTGPT2.complete(values["lm"]["architecture"], rows, vocabulary.eos_id)
    vae = typed(MotionVAEConfig, values.pop("tokenizer")["config"], "--set tokenizer.config")
    config = typed(MotionGPT3Config, values, "--set")
    config.check()
    return config, vae


def _settings_in(own: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    sizes = two_branch_sizes(part(own, LANGUAGE))
    given = len(own["motion_und_head.layers.weight"]) // sizes["n_embd"]
    wanted = next((own[key] for key in _WANTED if key in own), None)
    return {
        "tokenizer": {"config": vae_settings(part(own, VAE), file)},
        "lm": {"architecture": sizes, "max_length": min(192, sizes["n_positions"])},
        "head": head_sizes(part(own, "diffloss.net.")),
        "input_holders": given,
        "output_holders": given if wanted is None else wanted[..., :1].numel(),
        "condition_norm": "norm_layer.weight" in own,
        **TESTED, **({} if "fake_latent" in own else {"guidance_scale": 1.0}),
    }


def two_branch_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of a two-branch GPT-2; heads are of 64, as in every published GPT-2."""
    width, inner = weights["transformer.h.0.mlp.fn.1.c_fc.weight"].shape
    return {
        "n_embd": width, "n_inner": None if inner == 4 * width else inner, "n_head": max(width // 64, 1),
        "n_layer": count(weights, r"transformer\.h\.(\d+)\.ln_1\.fn\.0\.weight"),
        "n_positions": len(weights["transformer.wpe.weight"]),
        "motion_vocab_size": len(weights["pre_processors.1.weight"]),
    }  # fmt: skip


def head_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of a diffusion head; heads of the pooling (4), schedule and steps do not show in shapes."""
    width, channels = weights["input_proj.weight"].shape
    return {
        "width": width, "depth": count(weights, r"res_blocks\.(\d+)\.in_ln\.weight"),
        "pooling": "cond_embed.hidden_embedding" in weights,
        "learn_sigma": len(weights["final_layer.linear.weight"]) == 2 * channels,
    }  # fmt: skip
