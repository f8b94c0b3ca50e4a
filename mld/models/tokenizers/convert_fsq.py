"""Published MotionMillion tokenizers into ours, and ours into the published layout (MotionMillion spec 2.2, supplement
3.10): sizes come from the shapes; what no shape tells, from a description beside the file, the published values or the
user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError
from mld.files import parse_json
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, representation_for, shape
from mld.models.conversion.settings import overridden, settled
from mld.models.conversion.state_dict import read_state_dict
from mld.models.tokenizers.fsq import LEVELS
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.models.tokenizers.haar import SCALE
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation, representation_of_width
from mld.reading import read_text

KEYS = Path(__file__).with_name("fsq_keymap.yaml")
PACKAGED, DESCRIPTION = "fsq.safetensors", "mm_config.json"  # of a folder with a whole model
PUBLISHED = (512, 512, 3)  # width, code_dim, depth
LARGEST_PATCH = 64
PATCHER = {"wavelets": torch.tensor([SCALE, SCALE]), "_arange": torch.arange(2)}  # what it keeps without having learnt
_LAYER = re.compile(r"encoder\.model\.(\d+)\.")
# What a package's description may tell that shapes do not, under the published names of the settings.
_NAMES = {
    "nb_code": "codes", "dilation_growth_rate": "dilation_growth_rate", "activation": "activation",
    "vq_act": "activation", "norm": "norm", "vq_norm": "norm", "patch_method": "patch_method",
}  # fmt: skip


@cache
def keymap() -> KeyMap:
    """Published names and ours."""
    return KeyMap.load(KEYS)


def import_fsq_ae(
    file: Path, stats: Path, settings: Sequence[str] = (), as_published: bool = False
) -> tuple[FSQAE, Coverage]:
    """The tokenizer of a published file, or of a package: a folder with fsq.safetensors and mm_config.json.

    stats: folder with the mean and std of its training. settings: "key=value" of `FSQAEConfig` for what shapes do not
    tell. as_published: that is as published, whatever the sizes."""
    file = file / PACKAGED if file.is_dir() else file
    coverage = Coverage()
    own = own_names(read_state_dict(file, coverage.notes), coverage)
    told = [*_described(file, settings, coverage), *settings]
    found = sizes(own, file)
    untold = _untold(own, found, told, file)
    published = (found["width"], found["code_dim"], found["depth"]) == PUBLISHED
    settled(untold, told, file, coverage.notes, published, as_published)
    known = {name: value for name, value in untold.items() if value is not None}
    config = typed(FSQAEConfig, overridden({**found, **known}, told), "--set")
    statistics = Normalizer.load(stats, "data").check(get_representation(config.representation))
    return fill(FSQAE(config, statistics), "", own, keymap(), coverage, file), coverage


def own_names(state: Mapping[str, Tensor], coverage: Coverage) -> dict[str, Tensor]:
    """Weights under our names. Where the first layer has none, it was a patcher: the others count from there on."""
    own = keymap().translate(state, coverage)
    numbers = {int(match[1]) for key in own if (match := _LAYER.match(key))}
    if numbers and min(numbers) == 1:
        coverage.notes.append("layers of the encoder are numbered from 1 on, as behind a patcher")
        return {_LAYER.sub(lambda match: f"encoder.model.{int(match[1]) - 1}.", key): own[key] for key in own}
    return own


def sizes(weights: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """`FSQAEConfig` as far as names and shapes tell, as plain values."""
    causal = "encoder.model.0.conv.weight" in weights
    conv = ".conv.weight" if causal else ".weight"
    first, last = weights.get(f"encoder.model.0{conv}"), weights.get(f"decoder.model.0{conv}")
    if first is None or last is None or first.ndim != 3 or last.ndim != 3:
        raise CheckpointError(f"{file}: no MotionMillion tokenizer in it (encoder.model..., decoder.model...)")
    columns, patches = first.shape[1], range(1, LARGEST_PATCH + 1)
    patch = next((p for p in patches if columns % p == 0 and representation_of_width(columns // p)), 1)
    norms = "encoder.model.2.1.model.0.norm1.weight" in weights
    return {
        "representation": representation_for(columns // patch, file), "patch_size": patch, "causal": causal,
        "width": first.shape[0], "code_dim": last.shape[1],
        "down": count(weights, rf"encoder\.model\.(\d+)\.0{re.escape(conv)}"),
        "depth": count(weights, r"encoder\.model\.2\.1\.model\.(\d+)\.conv1\.weight") or 3,
        "norm": "BN" if "encoder.model.2.1.model.0.norm1.running_mean" in weights else "LN" if norms else None,
    }  # fmt: skip


def _untold(
    weights: Mapping[str, Tensor], found: Mapping[str, Any], settings: Sequence[str], file: Path
) -> dict[str, Any]:
    """What neither names nor shapes tell, with published values; None where there is none."""
    inner = "quantizer.project_in.weight"
    numbers = shape(weights, inner, 2, file)[0] if inner in weights else found["code_dim"]
    untold: dict[str, Any] = {"activation": "relu", "dilation_growth_rate": 3}
    if found["norm"] == "LN":
        untold["norm"] = "LN"  # layer and group norm look alike
    if found["patch_size"] > 1:
        untold["patch_method"] = None
    names = [name for name, levels in LEVELS.items() if len(levels) == numbers]
    if not any(setting.startswith("levels=") for setting in settings):
        untold["codes"] = names[0] if len(names) == 1 else None
    return untold


def _described(file: Path, settings: Sequence[str], coverage: Coverage) -> list[str]:
    """Settings out of the description beside a packaged file, without those that the user gave."""
    place = file.with_name(DESCRIPTION)
    if not place.is_file():
        return []
    try:
        values = parse_json(read_text(place))["config"]["vqvae"]
        told = {_NAMES[key]: value for key, value in values.items() if key in _NAMES and value is not None}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{place}: not the description of a MotionMillion package (config.vqvae)") from error
    given = {setting.split("=", 1)[0] for setting in settings}
    found = [f"{key}={value}" for key, value in told.items() if key not in given and isinstance(value, (str, int))]
    coverage.notes.append(f"from {DESCRIPTION}: {' '.join(found) or 'nothing'}")
    return found


def published_state(model: FSQAE) -> dict[str, Tensor]:
    """The state dict under published names, behind a patcher as in all published files. `CheckpointError` for a network
    with attention, whose layers have names of ours."""
    if model.config.attention:
        raise CheckpointError("attention in a tokenizer has no published names; only one without can be exported")
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("feature_")}
    found = keymap().published({_LAYER.sub(lambda m: f"encoder.model.{int(m[1]) + 1}.", key): own[key] for key in own})
    places = ("encoder.model.0", f"decoder.model.{len(model.decoder.model)}")
    return found | {f"vqvae.{place}.{name}": value.clone() for place in places for name, value in PATCHER.items()}


def settings_of(model: FSQAE) -> list[str]:
    """ "key=value" settings with which an import of `published_state(model)` gives the same model."""
    told = asdict(model.config)
    names = ["activation", "dilation_growth_rate", "levels" if told["levels"] else "codes"]
    names += ["norm"] if told["norm"] else []
    names += ["patch_method"] if told["patch_size"] > 1 else []
    return [f"{name}={json.dumps(told[name]).strip(chr(34)).replace(' ', '')}" for name in names]
