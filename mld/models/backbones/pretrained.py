"""Language models to start from: a local folder or hub id with config.json, weights and text tokenizer.

The tensors are read directly, never through a library class that
might tie or re-initialise something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mld.errors import CheckpointError, shown
from mld.files import parse_json
from mld.models.conversion.state_dict import read_state_dict
from mld.reading import read_text
from mld.weight_files import PATTERNS

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
    return read_description(config), read_weights(folder)


@contextlib.contextmanager
def fitting(folder: str | Path) -> Iterator[None]:
    """Within the block config.json and weights of a folder are taken apart: `CheckpointError` where they are not those
    of the language model that is wanted."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, MemoryError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise CheckpointError(f"{folder}: config.json and weights are not those of this language model ({reason})"
                              ) from error  # fmt: skip


def read_description(file: Path) -> dict[str, Any]:
    """The content of a config.json; `CheckpointError` where it is none."""
    try:
        content = parse_json(read_text(file))
    except ValueError as error:
        raise CheckpointError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: {shown(content)} is no description of a language model")
    return content


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of single or sharded files."""
    for pattern in PATTERNS:
        if files := sorted(folder.glob(pattern)):
            return {name: value for file in files for name, value in read_state_dict(file).items()}
    raise CheckpointError(f"{folder}: no {' and no '.join(PATTERNS)}")
