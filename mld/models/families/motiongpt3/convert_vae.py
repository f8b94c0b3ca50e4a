"""The motion VAE out of a published MLD or MotionGPT3 checkpoint (MotionGPT3 spec 1.4, 1.5).

Whatever the file is called, its VAE stands under `motion_vae.` or `vae.`, or alone without a prefix. Inside, every
tensor counts; what else is in the file (denoiser, text encoder, language model, evaluators) is counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, representation_for
from mld.models.conversion.settings import overridden, settled
from mld.models.conversion.state_dict import read_state_dict
from mld.models.positions import SinusoidalPositions
from mld.models.tokenizers.vae import PUBLISHED_SCALE, MotionVAE, MotionVAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

KEYS = Path(__file__).with_name("keymap.yaml")
VAE = "tokenizer.network."  # our name of its weights in a model
UNTOLD = {"num_heads": 4, "activation": "gelu", "norm_first": False}
PLACES = ("query_pos_encoder.pe", "query_pos_decoder.pe")
_VAE = re.compile(r"^(?:.*\.)?(?:motion_)?vae\.")
_NEEDED = ("skel_embedding.weight", "global_motion_token", "encoder.middle_block.linear1.weight")


def import_vae(
    file: Path, stats: Path, settings: Sequence[str] = (), as_published: bool = False
) -> tuple[MotionVAE, Coverage]:
    """The VAE of a published file. stats: folder with mean.npy and std.npy of the data set.

    settings: "key=value" of `MotionVAEConfig` for what shapes do not tell (num_heads, latent_scale, ...).
    as_published: what is not said is as published, whatever the sizes."""
    keymap, coverage = KeyMap.load(KEYS), Coverage()
    weights = vae_weights(read_state_dict(file, coverage.notes), coverage, file)
    config = typed(MotionVAEConfig, overridden(vae_settings(weights, file), settings), "--set")
    settled(UNTOLD, settings, file, coverage.notes, is_published(config), as_published)
    own = {VAE + key: value for key, value in weights.items()}
    own = without_computed_positions(own, coverage)
    vae = fill(build_vae(config, stats), "tokenizer.", own, keymap, coverage, file)
    coverage.notes.append(scale_note(vae))
    return vae, coverage


def vae_weights(state: Mapping[str, Tensor], coverage: Coverage, file: Path) -> dict[str, Tensor]:
    """Tensors of the VAE under the names inside it; all else is counted by the first part of its name."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name, inside = _VAE.subn("", key)
        if not inside:
            continue
        if name in found and not torch.equal(found[name], value):
            raise CheckpointError(f"{file}: holds two different VAEs ({name} under vae. and under motion_vae.)")
        found[name] = value
    if not found and all(key in state for key in _NEEDED):
        return dict(state)
    if missing := [key for key in _NEEDED if key not in found]:
        raise CheckpointError(f"{file}: no motion VAE in it (no vae.{missing[0]} or motion_vae.{missing[0]})")
    coverage.ignored.update(f"{key.split('.')[0]}. (not VAE)" for key in state if not _VAE.search(key))
    return found


def without_computed_positions(own: Mapping[str, Tensor], coverage: Coverage) -> dict[str, Tensor]:
    """Weights in our names without position tables that are sines and cosines, which our VAE computes."""
    computed = [VAE + key for key in PLACES if VAE + key in own and _is_sinusoidal(own[VAE + key])]
    if computed:
        coverage.ignored["positions that are computed"] += len(computed)
    return {key: value for key, value in own.items() if key not in computed}


def _is_sinusoidal(table: Tensor) -> bool:
    rows = table.squeeze(1)
    computed = SinusoidalPositions(len(rows), rows.shape[-1], 0.0).pe
    return rows.shape == computed.shape and torch.allclose(rows, computed, atol=1e-4)


def vae_settings(weights: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """`MotionVAEConfig` as far as shapes tell. Heads (4), activation (gelu) and order of norms do not show in them."""
    if missing := [key for key in _NEEDED if key not in weights]:
        raise CheckpointError(f"{file}: no motion VAE in it ({missing[0]} is missing)")
    skeleton, tokens = weights["skel_embedding.weight"], weights["global_motion_token"]
    separate = "dist_layer.weight" not in weights
    positions = weights.get(PLACES[0])
    learned = positions is not None and not _is_sinusoidal(positions)
    return {
        "representation": representation_for(skeleton.shape[1], file), "latent_channels": tokens.shape[1],
        "tokens_per_clip": len(tokens) // 2 if separate else len(tokens), "separate_logvar": separate,
        "ff_size": len(weights["encoder.middle_block.linear1.weight"]),
        "num_layers": 2 * count(weights, r"encoder\.input_blocks\.(\d+)\.norm1\.weight") + 1,
        "position_encoding": "learned" if learned else "sinusoidal",
        **({} if positions is None else {"max_positions": len(positions)}),
        "latent_scale": PUBLISHED_SCALE, "normalizer": "data",
    }  # fmt: skip


def is_published(config: MotionVAEConfig) -> bool:
    """Whether a VAE has the published sizes; MLD's other latents are several tokens of them."""
    return (config.latent_channels, config.ff_size, config.num_layers) == (256, 1024, 9)


def build_vae(config: MotionVAEConfig, stats: Path) -> MotionVAE:
    """The VAE of `config`, weights not loaded, with the statistics of a folder, of the kind `config.normalizer`."""
    if config.latent_scale is None or config.latent_scale <= 0:
        raise ConfigError(f"latent_scale {config.latent_scale} must be above 0")
    representation = get_representation(config.representation)
    return MotionVAE(config, Normalizer.load(stats, config.normalizer).check(representation))


def scale_note(vae: MotionVAE) -> str:
    return f"latents are scaled by {float(vae.latent_scale):.4g} (--latent-scale; 0.7152 in August to October 2025)"
