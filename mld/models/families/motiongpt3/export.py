"""A MotionGPT3 model in the layout of the published checkpoints, for the published code and for import again.

What the layout has no place for is told: settings that an import needs, and parts that are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.conversion.keymap import Coverage, KeyMap, part
from mld.models.families.motiongpt3.config import MotionGPT3Config
from mld.models.families.motiongpt3.convert import LANGUAGE, config_of, with_one_text_table
from mld.models.families.motiongpt3.convert_vae import KEYS, PLACES, VAE
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.families.motiongpt3.start_point import with_copies
from mld.models.tokenizers.vae import PUBLISHED_SCALE, MotionVAEConfig

# How a model came to be, not what it is.
HISTORY = ("lm.pretrained", "lm.text_vocabulary", "lm.init_motion_branch", "length_head")
OURS_ALONE = ("tokenizer.feature_mean", "tokenizer.feature_std", "tokenizer.latent_scale")
# Settings for which the published code, which has no such choice, gives other answers.
PUBLISHED = {
    "holder_layout": "chunk_major", "boundaries": True, "length_prompt_probability": 0.0,
    "lm.architecture.foreign_keys": "bias", "tokenizer.config.logvar_offset": 0.0,
}  # fmt: skip


def published_state(model: MotionGPT3) -> dict[str, Tensor]:
    """The state dict under published names, the text table under all four of its names. `fake_latent` is written where
    it says something, as there without guidance there is none.

    `CheckpointError` for what the layout does not know, and no answer is right without: features of a text encoder, a
    VAE whose positions hold several frames."""
    if model.text is not None:
        raise CheckpointError(
            f"it reads features of the text encoder '{model.text.source}'; published checkpoints have no place for them"
        )
    if model.tokenizer.config.patch != 1:
        raise CheckpointError(
            f"its VAE has {model.tokenizer.config.patch} frames to a position; published checkpoints have one"
        )
    own = {key: value for key, value in model.state_dict().items() if key not in OURS_ALONE}
    own = {key: value for key, value in own.items() if not key.startswith("length_head.")}
    if model.config.guidance_scale <= 1 and not own["fake_latent"].any():
        del own["fake_latent"]
    if model.tokenizer.config.position_encoding == "sinusoidal":
        for place in PLACES:
            own[VAE + place] = model.tokenizer.network.get_buffer(place)[:, None]
    rest = {key: value for key, value in own.items() if not key.startswith(LANGUAGE)}
    language = with_copies(part(own, LANGUAGE))
    return KeyMap.load(KEYS).published(rest | {LANGUAGE + key: value for key, value in language.items()})


def settings_of(model: MotionGPT3) -> list[str]:
    """ "key=value" settings with which an import of `published_state(model)` gives the same model."""
    unread = Coverage()
    own = with_one_text_table(KeyMap.load(KEYS).translate(published_state(model), unread), unread)
    found = _levelled(*config_of(own, model.vocabulary, (), Path("this model")))
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in _settings(model).items() if key not in HISTORY and found.get(key) != value
    ]  # fmt: skip


def _settings(model: MotionGPT3) -> dict[str, Any]:
    """Config of model and tokenizer as one level of names."""
    scale = {"tokenizer.config.latent_scale": _scale(model.tokenizer.latent_scale)}
    return _levelled(model.config, model.tokenizer.config) | scale


def _levelled(config: MotionGPT3Config, vae: MotionVAEConfig) -> dict[str, Any]:
    return _flat(asdict(config)) | _flat(asdict(vae), "tokenizer.config.")


def _scale(buffer: Tensor) -> float:
    """The number in `latent_scale`, measured or given; the published one as it is written."""
    return PUBLISHED_SCALE if buffer == torch.tensor(PUBLISHED_SCALE) else float(buffer)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found


def losses(model: MotionGPT3) -> list[str]:
    """What a reader of the exported file does not get, in words."""
    settings = _settings(model)
    told = [
        f"{key} is {settings[key]}; the published code knows only {value}"
        for key, value in PUBLISHED.items() if settings.get(key, value) != value
    ]  # fmt: skip
    if model.length_head is not None:
        told.append("the length head is left out: lengths that nobody names are drawn at random")
    return told
