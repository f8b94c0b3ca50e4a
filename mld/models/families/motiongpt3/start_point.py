"""Start points of a two-branch GPT-2: weights of a plain GPT-2 put into the text branch (MotionGPT3 spec 5.1).

Three kinds of folder are read: a plain GPT-2, one that `write_start_point` wrote, and the published mot-gpt2
(`model_state_dict.pth`). A motion branch that a folder lacks starts random, or as a copy of the text branch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from mld.errors import CheckpointError, ConfigError
from mld.models.backbones.gpt2 import GPT2Backbone
from mld.models.backbones.mot_gpt2 import ARCHITECTURE, MoTGPT2
from mld.models.backbones.pretrained import fitting, read_description, read_pretrained
from mld.models.backbones.text_tokenizer import save_text_tokenizer
from mld.models.conversion.state_dict import read_state_dict

MotionStart = Literal["random", "copy_text"]
TEXT_TABLE = "transformer.wte.weight"
COPIES = ("lm_head.weight", "pre_processors.0.weight", "post_processors.0.weight")  # published names of the text table
PUBLISHED_FILE, MODEL_TYPE = "model_state_dict.pth", "mot-gpt2"
# What a start point leaves open; all else is given by its weights.
FREE = ("attention_mode", "foreign_keys", "embd_pdrop", "attn_pdrop", "resid_pdrop", "motion_embedding_std")
# attn.c_attn, attn.c_proj, mlp ... -> c_attn.fn.0, c_proj.fn.0, mlp.fn.0 ...
_TEXT_BRANCH = re.compile(r"(?:attn\.)?(ln_f|ln_1|ln_2|c_attn|(?<=attn\.)c_proj|mlp)\.")
_MASKS = re.compile(r"\.h\.\d+\.(attn\.)?(masked_)?bias$")
_SIZES = ("n_embd", "n_layer", "n_head")
_CHANGED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "mot_factor": 1.0}


def without_copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights under our names: without attention masks and the tied copies of the text table.

    `CheckpointError` when a copy is not equal to the table."""
    own = {key: value for key, value in weights.items() if key not in COPIES and not _MASKS.search(key)}
    for key in COPIES:
        if key in weights and not torch.equal(weights[key], own.setdefault(TEXT_TABLE, weights[key])):
            raise CheckpointError(f"{key} differs from {TEXT_TABLE}; text has one table for reading and writing")
    return own


def with_copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights as published: the text table under all its names."""
    return {**weights, **dict.fromkeys(COPIES, weights[TEXT_TABLE])}


def load_start_point(
    folder: Path, init_motion_branch: MotionStart = "random", settings: Mapping[str, Any] | None = None
) -> MoTGPT2:
    """The model that a folder holds or a plain GPT-2 begins; a motion branch that is there is kept.

    settings: values for some of `FREE`. The text table has the rows of the folder: see `MoTGPT2.resize_text`."""
    if wrong := set(settings or ()) - set(FREE):
        raise ConfigError(f"lm.architecture: {sorted(wrong)} follow from the pretrained model; open: {', '.join(FREE)}")
    config, weights = _read(folder)
    with fitting(folder):
        if not any(".fn.0." in key for key in weights):
            weights = _text_branch(weights)
        weights = without_copies(weights)
        model = MoTGPT2({**architecture_of(config, weights), **(settings or {})})
    _fill(model, weights, init_motion_branch, str(folder))
    return model


def write_start_point(folder: Path, model: MoTGPT2, text_tokenizer) -> None:
    """config.json, model.safetensors and the files of the text tokenizer (transformers)."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"model_type": MODEL_TYPE, **model.architecture}
    (folder / "config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    save_text_tokenizer(text_tokenizer, folder)


def architecture_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes from a config.json and weights in our names; `CheckpointError` for what a GPT-2 here cannot be."""
    if config.get("model_type") not in ("gpt2", MODEL_TYPE, "mot_gpt2", None):
        raise CheckpointError(f"a two-branch GPT-2 cannot start from a pretrained '{config['model_type']}' model")
    for key, usual in _CHANGED.items():
        if config.get(key, usual) != usual:
            raise CheckpointError(f"config.json: {key} {config[key]} is not supported, only {usual}")
    needed = {TEXT_TABLE: weights, "transformer.wpe.weight": weights, **dict.fromkeys(_SIZES, config)}
    if missing := [key for key, place in needed.items() if key not in place]:
        raise CheckpointError(f"no GPT-2: {', '.join(missing)} missing in weights or config.json")
    rows = len(weights[TEXT_TABLE])
    eos = config.get("eos_token_id")
    found = {key: config[key] for key in ARCHITECTURE if key in config}
    found.setdefault("text_pad_id", eos if isinstance(eos, int) and eos < rows else rows - 1)
    found["n_positions"] = len(weights["transformer.wpe.weight"])
    if (table := weights.get("pre_processors.1.weight")) is not None:
        found["motion_vocab_size"] = len(table)
    return {**ARCHITECTURE, **found, "vocab_size": rows}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    published = folder / PUBLISHED_FILE
    if not published.is_file():
        return read_pretrained(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{folder}: not a pretrained language model, config.json is missing")
    return read_description(config), read_state_dict(published)


def _text_branch(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a plain GPT-2 under the names of the text branch."""
    plain = GPT2Backbone.prepare_weights(weights)
    return {_TEXT_BRANCH.sub(r"\1.fn.0.", key, count=1): value for key, value in plain.items()}


def _fill(model: MoTGPT2, weights: Mapping[str, Tensor], init_motion_branch: MotionStart, origin: str) -> None:
    """Load `weights`; the motion branch and each motion table may be missing, but only as a whole."""
    if init_motion_branch not in ("random", "copy_text"):
        raise ConfigError(f"init_motion_branch '{init_motion_branch}' is not one of random, copy_text")
    full = model.state_dict()
    missing = [key for key in full if key not in weights]
    branch = [key for key in missing if ".fn.1." in key]
    whole = len(branch) == sum(".fn.1." in key for key in full)
    absent = {*(branch if whole else ()), "pre_processors.1.weight", "post_processors.1.weight"}
    wrong = [key for key, value in weights.items() if key not in full or value.shape != full[key].shape]
    wrong += [key for key in missing if key not in absent]
    if wrong:
        raise CheckpointError(f"{origin} does not fit a two-branch GPT-2: {', '.join(wrong[:4])} ({len(wrong)} in all)")
    if init_motion_branch == "copy_text":
        weights = {**{key: weights[key.replace(".fn.1.", ".fn.0.")] for key in branch}, **weights}
    model.load_state_dict(weights, strict=False)
