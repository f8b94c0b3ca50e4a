"""Published evaluators of this kind into ours: TMR's last_weights folder, its relative's Lightning checkpoint.

As everywhere, strict: a key map as data, sizes from the shapes, nothing missing and nothing left over.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, representation_for
from mld.models.conversion.settings import overridden, settled
from mld.models.conversion.state_dict import read_state_dict
from mld.models.evaluators.tmr.model import TMR, TMRConfig
from mld.models.evaluators.tmr.tmr272 import TMR272, TMR272Config
from mld.models.text_encoders.bert import NAMED, BertEncoder
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

TEXT_ENCODER = "distilbert-base-uncased"
KEYS, KEYS_272 = (Path(__file__).with_name(name) for name in ("keymap.yaml", "keymap272.yaml"))
UNTOLD = {"num_heads": 4}
PUBLISHED_SIZES = ((256, 1024), (512, 1024))  # of TMR and MotionStreamer, and of MotionMillion
AnyConfig = TypeVar("AnyConfig", bound=TMRConfig)
DECODER = "motion_decoder."
TMR_PARTS = ("motion_encoder", "text_encoder", "motion_decoder")


def import_tmr(
    folder: Path, stats: Path, text_encoder: str = TEXT_ENCODER, settings: Sequence[str] = (),
    as_published: bool = False,
) -> tuple[TMR, Coverage]:  # fmt: skip
    """A folder with (or above) last_weights/{motion_encoder,text_encoder,motion_decoder}.pt.

    stats: mean and std, .npy or .pt. text_encoder: folder or hub id of the transformer that the text side reads.
    settings: "key=value" of what shapes do not tell (num_heads). as_published: what is not said is as published,
    whatever the sizes."""
    keymap, coverage = KeyMap.load(KEYS), Coverage()
    place = folder / "last_weights" if (folder / "last_weights").is_dir() else folder
    parts = {part: read_state_dict(place / f"{part}.pt", coverage.notes) for part in TMR_PARTS}
    state = {f"{part}.{key}": value for part, weights in parts.items() for key, value in weights.items()}
    own = keymap.translate(state, coverage)
    projection = _weight(own, "motion_encoder.projection.weight", place)
    config = TMRConfig(representation=representation_for(projection.shape[1], place), text_encoder=text_encoder)
    text = BertEncoder(text_encoder).open()
    _actor_sizes(config, own, text, place)
    config = _told(config, settings, place, coverage, as_published)
    normalizer = _statistics(stats, "tmr").check(get_representation(config.representation))
    return fill(TMR(config, text, normalizer), "", own, keymap, coverage, place), coverage


def import_tmr272(
    file: Path, stats: Path, text_encoder: str = TEXT_ENCODER, settings: Sequence[str] = (), as_published: bool = False
) -> tuple[TMR272, Coverage]:
    """A Lightning checkpoint. stats: the 272-column release's mean and std. text_encoder: folder or hub id whose
    tokenizer and config are taken; the transformer's weights come from the checkpoint. settings, as_published: as for
    `import_tmr`."""
    keymap, coverage = KeyMap.load(KEYS_272), Coverage()
    own = join_tokens(keymap.translate(read_state_dict(file, coverage.notes), coverage))
    projection = _weight(own, "motion_encoder.projection.weight", file)
    config = TMR272Config(nfeats=projection.shape[1], text_encoder=text_encoder)
    words = {key.removeprefix("text_model."): own.pop(key) for key in list(own) if key.startswith("text_model.")}
    if not words:
        raise CheckpointError(f"{file}: no text transformer in it (keys textencoder.text_model...)")
    if text_encoder in NAMED:
        raise CheckpointError("name the folder or hub id of DistilBERT with --text-encoder")
    text = BertEncoder.from_weights(pretrained_folder(text_encoder), words)
    _actor_sizes(config, own, text, file)
    config = _told(config, settings, file, coverage, as_published)
    network = TMR272(config, text, _statistics(stats, "data"))
    if not any(key.startswith(DECODER) for key in own):
        decoder = network.motion_decoder.state_dict()
        own |= {f"{DECODER}{key}": torch.zeros_like(value) for key, value in decoder.items()}
        coverage.notes.append("no motion decoder in the file: zeros, as embeddings need none; it cannot be trained on")
    network = fill(network, "", own, keymap, coverage, file)
    coverage.loaded += [f"text_model.{key}" for key in words]
    return network, coverage


def join_tokens(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`mu_token` and `logvar_token` of each encoder as its `tokens` (2, E)."""
    out = dict(weights)
    for part in ("motion_encoder", "text_encoder"):
        names = (f"{part}.mu_token", f"{part}.logvar_token")
        if all(name in out for name in names):
            out[f"{part}.tokens"] = torch.stack([out.pop(name) for name in names])
    return out


def _actor_sizes(config: TMRConfig, weights: Mapping[str, Tensor], text: TextEncoder, file: Path) -> None:
    """Sizes from the shapes; heads (4) do not show in them."""
    key = f"text_encoder.projection.{'1.' if config.text_relu else ''}weight"
    config.latent_dim, config.text_width = _weight(weights, key, file).shape
    config.num_layers = count(weights, r"motion_encoder\.seqTransEncoder\.layers\.(\d+)\.norm1\.weight")
    config.ff_size = _weight(weights, "motion_encoder.seqTransEncoder.layers.0.linear1.weight", file).shape[0]
    config.text_encoder_hash = text.identity
    if text.width != config.text_width:
        raise CheckpointError(
            f"{file}: the text side reads features of width {config.text_width}, but '{config.text_encoder}' gives "
            f"{text.width}; name the right --text-encoder"
        )


def _told(
    config: AnyConfig, settings: Sequence[str], file: Path, coverage: Coverage, as_published: bool
) -> AnyConfig:
    """The config with what shapes do not tell; activation and order of norms are those of every published one."""
    if wrong := [setting for setting in settings if setting.split("=", 1)[0] not in UNTOLD]:
        raise ConfigError(f"--set {wrong[0]}: only {', '.join(UNTOLD)} can be set; the file tells the rest")
    published = (config.latent_dim, config.ff_size) in PUBLISHED_SIZES
    settled(UNTOLD, settings, file, coverage.notes, published, as_published)
    return typed(type(config), overridden(asdict(config), settings), "--set")


def _weight(weights: Mapping[str, Tensor], key: str, file: Path) -> Tensor:
    if key not in weights:
        raise CheckpointError(f"{file}: no {key} in it; this is not such an evaluator")
    return weights[key]


def _statistics(folder: Path, kind: str) -> Normalizer:
    """mean and std of a folder, as .npy or, as TMR stores them, .pt."""
    if not (folder / "mean.pt").is_file():
        return Normalizer.load(folder, kind)
    try:
        mean, std = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("mean", "std"))
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder}: mean.pt or std.pt is missing or not a tensor") from error
    return Normalizer(mean, std, kind)
