"""Published MotionStreamer checkpoints into ours, and ours into the published layout (MotionStreamer spec 1, 12).

The tokenizer and the transformer with its head are two files. Sizes come from the shapes; what no shape tells has the
published value and can be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, part, representation_for, shape
from mld.models.conversion.settings import overridden
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.families.motionstreamer.model import MotionStreamer, end_latent
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

KEYS = Path(__file__).with_name("keymap.yaml")
TOKENIZER = "tokenizer."
TEXT_ENCODER = "sentence-transformers/sentence-t5-xxl"
OF_TOKENIZER = "tokenizer.config."  # begins settings that are the tokenizer's
LAYER_OR_GROUP = "LN or GN"
_OF_TOKENIZER = ("encoder.model.0.conv.weight", "posterior_proj.weight", "decode_proj.weight")
_OF_MODEL = (
    "transformer.ln_f.scale", "transformer.h.0.attn.c_attn.weight", "latent_embed.weight", "text_embed.weight",
    "head.net.input_proj.weight", "head.net.final_layer.linear.weight",
)  # fmt: skip


@cache
def keymap() -> KeyMap:
    """Published names and ours."""
    return KeyMap.load(KEYS)


def import_causal_ae(file: Path, stats: Path, settings: Sequence[str] = ()) -> tuple[CausalAE, Coverage]:
    """The causal auto-encoder of a published file. stats: folder with the mean and std of its training.

    settings: "key=value" of `CausalAEConfig` for what shapes do not tell."""
    coverage = Coverage()
    own = keymap().translate(read_state_dict(file, coverage.notes), coverage)
    tokenizer = _tokenizer(part(own, TOKENIZER), stats, overridden({}, settings), coverage, file)
    return fill(tokenizer, TOKENIZER, own, keymap(), coverage, file), coverage


def import_motionstreamer(
    file: Path, stats: Path, tae: Path, text_encoder: str = TEXT_ENCODER, end: Path | None = None,
    settings: Sequence[str] = (),
) -> tuple[MotionStreamer, Coverage]:  # fmt: skip
    """A published transformer with its head, over the tokenizer in the file `tae`. end: .npy file with the end latent
    of its training; none for the one of the published weights where sizes fit, else the tokenizer's own.

    settings: "key=value" of `MotionStreamerConfig`, and with `tokenizer.config.` of `CausalAEConfig`."""
    coverage = Coverage()
    of_tokenizer = [setting for setting in settings if setting.startswith(OF_TOKENIZER)]
    described = overridden({}, [setting.removeprefix(OF_TOKENIZER) for setting in of_tokenizer])
    rest = [setting for setting in settings if setting not in of_tokenizer]
    state = read_state_dict(file, coverage.notes)
    own = keymap().translate(state, coverage)
    own |= {k: v for k, v in keymap().translate(read_state_dict(tae, coverage.notes), coverage).items()
            if k.startswith(TOKENIZER)}  # fmt: skip
    if missing := [key for key in _OF_MODEL if key not in own]:
        raise CheckpointError(f"{file}: no MotionStreamer transformer in it ({', '.join(missing[:3])} missing)")
    tokenizer = _tokenizer(part(own, TOKENIZER), stats, described, coverage, tae)
    config = typed(MotionStreamerConfig, overridden(sizes(own, state, file), rest), "--set")
    text = open_text_encoder(text_encoder)
    if (wanted := shape(own, "text_embed.weight", 2, file)[1]) != text.sentence_width:
        raise CheckpointError(
            f"{file}: reads text features of width {wanted}, those of '{text_encoder}' have {text.sentence_width};"
            " name the right --text-encoder"
        )
    model = MotionStreamer(config, tokenizer, text)
    fill(model, "", own, keymap(), coverage, file)
    model.end_latent.copy_(_end(model, end, coverage))
    c = config.architecture
    coverage.notes.append(f"{c.heads} heads of {c.width // c.heads} (--set architecture.heads=...)")
    return model, coverage


def sizes(own: Mapping[str, Tensor], state: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """`MotionStreamerConfig` as far as shapes and the stored factor of attention tell, as plain values."""
    factors = {float(value) for name, value in state.items() if name.endswith(".attn.scale")}
    if len(factors) > 1:
        raise CheckpointError(f"{file}: layers have different factors of attention ({sorted(factors)})")
    usual = asdict(MotionStreamerConfig())
    architecture = {
        "layers": count(own, r"transformer\.h\.(\d+)\..*"), "width": shape(own, "transformer.ln_f.scale", 1, file)[0],
        "attention_scale": factors.pop() if factors else None,
    }  # fmt: skip
    head = {
        "width": shape(own, "head.net.input_proj.weight", 2, file)[0],
        "depth": count(own, r"head\.net\.res_blocks\.(\d+)\..*"),
    }
    return {"architecture": usual["architecture"] | architecture, "head": usual["head"] | head}


def _tokenizer(
    weights: Mapping[str, Tensor], stats: Path, told: Mapping[str, Any], coverage: Coverage, file: Path
) -> CausalAE:
    if missing := [key for key in _OF_TOKENIZER if key not in weights]:
        raise CheckpointError(f"{file}: no causal auto-encoder in it (tae.{missing[0]} is missing)")
    first = shape(weights, "encoder.model.0.conv.weight", 3, file)
    norm = None
    if "encoder.model.2.1.model.0.norm1.weight" in weights:
        norm = "BN" if "encoder.model.2.1.model.0.norm1.running_mean" in weights else LAYER_OR_GROUP
    if norm == LAYER_OR_GROUP and told.get("norm") not in ("LN", "GN"):
        raise CheckpointError(
            f"{file}: has normalisation layers, and layer and group norm look alike; name the one it was trained with:"
            " --set norm=LN or GN"
        )
    found = {
        "representation": representation_for(first[1], file), "width": first[0],
        "latent_channels": shape(weights, "decode_proj.weight", 2, file)[1],
        "down": count(weights, r"encoder\.model\.(\d+)\.0\.conv\.weight"),
        "depth": count(weights, r"encoder\.model\.2\.1\.model\.(\d+)\.conv1\.weight") or 3, "norm": norm,
    }  # fmt: skip
    config = typed(CausalAEConfig, {**found, **told}, "--set")
    coverage.notes.append(
        f"activation {config.activation}, dilation growth {config.dilation_growth_rate}: not in the file, as published"
    )
    return CausalAE(config, Normalizer.load(stats, "data").check(get_representation(config.representation)))


def _end(model: MotionStreamer, file: Path | None, coverage: Coverage) -> Tensor:
    """The end latent (C,), and a note where it is from."""
    wanted = tuple(model.end_latent.shape)
    if file is not None:
        try:
            found = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file}: not a readable npy file with the end latent") from error
        if found.size != wanted[0] or not np.isfinite(found).all():
            raise CheckpointError(f"{file}: shape {found.shape}, an end latent of {wanted[0]} numbers is needed")
        return torch.as_tensor(found.reshape(-1), dtype=torch.float32)
    published = torch.tensor(yaml.safe_load(KEYS.read_text(encoding="utf-8"))["published_end_latent"])
    if tuple(published.shape) == wanted:
        coverage.notes.append("the end latent is that of the published HumanML3D weights (--end-latent for another)")
        return published
    coverage.notes.append("the end latent is computed; where training had another, motions do not end (--end-latent)")
    return end_latent(model.tokenizer)


def published_states(model: MotionStreamer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """State dicts under published names: that of the tokenizer, that of the transformer with its head.

    `ConfigError` for what the published layout has no place for."""
    if not model.config.architecture.qk_norm:
        raise ConfigError("the published layout knows only attention with qk_norm")
    own = {k: v for k, v in model.state_dict().items() if k not in keymap().provided}
    named = keymap().published(own)
    tae = {k: v for k, v in named.items() if k.startswith("tae.")}
    trans = {k: v for k, v in named.items() if k not in tae}
    factor = torch.tensor(model.config.architecture.scale, dtype=torch.float64)
    trans |= {f"transformer.h.{i}.attn.scale": factor.clone() for i in range(model.config.architecture.layers)}
    return tae, trans
