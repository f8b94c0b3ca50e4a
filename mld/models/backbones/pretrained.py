"""Language models to start from: a local folder or hub id with config.json, weights and text tokenizer.

The tensors are read directly (safetensors, else `torch.load(weights_only=True)`), never through a library class that
might tie or re-initialise something.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.usable import require_numbers

DESCRIPTION = ["*.json", "*.model", "*.txt"]


def pretrained_folder(name: str, weights: bool = True, also: Sequence[str] = ()) -> Path:
    """A local folder as it is; a hub id is downloaded, with or without its weights. `CheckpointError` when neither
    works. also: patterns of further files of the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith("."):
        raise CheckpointError(f"pretrained language model '{name}': no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if not weights:
            return Path(snapshot_download(name, allow_patterns=DESCRIPTION))
        found = Path(snapshot_download(name, allow_patterns=[*DESCRIPTION, "model*.safetensors", *also]))
        if not list(found.glob("model*.safetensors")):
            found = Path(snapshot_download(name, allow_patterns=[*DESCRIPTION, "pytorch_model*.bin"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"pretrained language model '{name}': neither a folder nor reachable on the hub ({reason})"
        ) from error
    return found


def read_pretrained(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and all tensors of a pretrained folder, single or sharded files."""
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{folder}: not a pretrained language model, config.json is missing")
    return json.loads(config.read_text(encoding="utf-8")), read_weights(folder)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of single or sharded files."""
    weights: dict[str, Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        weights.update(load_file(file))
    if not weights:
        for file in sorted(folder.glob("pytorch_model*.bin")):
            weights.update(torch.load(file, map_location="cpu", weights_only=True))
    if not weights:
        raise CheckpointError(f"{folder}: no model*.safetensors and no pytorch_model*.bin")
    require_numbers(weights.items(), str(folder))
    return weights
