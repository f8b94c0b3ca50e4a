"""Model folders: `config.yaml`, `model.safetensors`, text-tokenizer files and `provenance.json`.

A folder alone rebuilds the network, offline. It is written beside its final place and renamed, so a reader never sees
half of one. Loading is strict: a missing, unexpected or misshapen tensor is a `CheckpointError` that names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError
from mld.models.contracts.network import Network
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.registry import find
from mld.version import __version__

FORMAT = 2
CONFIG, WEIGHTS, PROVENANCE = "config.yaml", "model.safetensors", "provenance.json"
# Statistics are tiny numbers and running sums: half precision would change results.
KEEP_FLOAT32 = ("feature_mean", "feature_std", "latent_scale", "gain", "code_sum", "code_count")
DTYPES = {"float32": torch.float32, "float16": torch.float16}


def save_model(
    network: Network, folder: str | Path, provenance: Mapping[str, Any] | None = None, dtype: str = "float32"
) -> Path:
    """Write a model folder, replacing an older one only when the new one is complete.

    provenance: what is known of the origin (data hash, parent checkpoints, licence, ...); git sha, config hash and
    parameter count are added. dtype: "float32" or "float16" for the weights on disk (statistics stay float32)."""
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype '{dtype}' is not one of {', '.join(DTYPES)}")
    folder = Path(folder)
    config = yaml.safe_dump({"format": FORMAT, **network.describe()}, sort_keys=False, allow_unicode=True)
    with replacing(folder) as new:
        (new / CONFIG).write_text(config, encoding="utf-8")
        save_file(_on_disk(network.state_dict(), DTYPES[dtype]), new / WEIGHTS, metadata={"format": "pt"})
        network.save_assets(new)
        origin = {
            **_automatic_provenance(network, config), **(provenance or {}), "weights_dtype": dtype,
        }  # fmt: skip
        (new / PROVENANCE).write_text(json.dumps(origin, indent=2, default=str) + "\n", encoding="utf-8")
    return folder


def load_model(path_or_hub_id: str | Path) -> Network:
    """The network of a model folder (or of a Hugging Face hub id), in eval mode, float32, on the CPU."""
    folder = resolve_folder(path_or_hub_id)
    network = rebuild(read_config(folder), str(folder / CONFIG), folder)
    load_weights(network, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return network.eval()


def resolve_folder(path_or_hub_id: str | Path) -> Path:
    """The local folder itself, or the downloaded snapshot when the text is a hub id (`owner/name`)."""
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    name = str(path_or_hub_id)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"{name}: no such model folder (a folder with {CONFIG} and {WEIGHTS})")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{name}: neither a local model folder nor reachable on the hub ({reason})") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The description stored in a model folder, in today's format: kind, family, config and parts."""
    file = folder / CONFIG
    if not file.is_file():
        raise CheckpointError(f"{folder}: not a model folder, {CONFIG} is missing")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: not readable as YAML") from error
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        raise CheckpointError(f"{file}: not a model config of format 1 or {FORMAT}")
    if missing := {"kind", "family", "config"} - set(content):
        raise CheckpointError(f"{file}: lacks {', '.join(sorted(missing))}")
    return content if content["format"] == FORMAT else _from_format_1(content)


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """There a generator was a "model", and its tokenizer stood in its config."""
    kind = "generator" if content["kind"] == "model" else content["kind"]
    config = dict(content["config"])
    parts = {"tokenizer": config.pop("tokenizer")} if kind == "generator" and "tokenizer" in config else {}
    return {**content, "format": FORMAT, "kind": kind, "config": config, "parts": parts}


def rebuild(description: Mapping[str, Any], where: str, folder: Path | None = None) -> Network:
    """The network that `Network.describe` described, over its parts, weights not loaded."""
    cls = find(description["kind"], description["family"])
    described = description.get("parts") or {}
    if missing := [name for name in cls.needs if name not in described]:
        raise CheckpointError(f"{where}: part '{missing[0]}' of the {cls.kind} is not described")
    parts = {name: _part(described[name], f"{where}: parts.{name}", folder) for name in cls.needs}
    try:
        config = typed(cls.Config, description["config"], where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    return cls.restore(config, parts, folder)


def _part(description: Mapping[str, Any], where: str, folder: Path | None) -> Network | TextEncoder:
    """A network, whose weights are among the owner's, or a text encoder, which stays closed until it is used."""
    if description["kind"] == TextEncoder.kind:
        return find(TextEncoder.kind, description["family"]).restore(description, where, folder)
    return rebuild(description, where)


def read_weights(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; a Git LFS pointer is told apart from damage."""
    if not file.is_file():
        raise CheckpointError(f"{file}: missing")
    with open(file, "rb") as stream:
        if stream.read(18) == b"version https://gi":
            raise CheckpointError(f"{file}: a Git LFS pointer, not the weights; run 'git lfs pull'")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from error


def load_weights(network: Network, weights: Mapping[str, Tensor], where: str) -> None:
    """Strict loading; the error lists what is missing, unexpected or of another shape."""
    own = network.state_dict()
    weights = {**weights, **{k: weights[v] for k, v in aliases(own).items() if k not in weights and v in weights}}
    problems = [f"missing {key}" for key in own if key not in weights]
    problems += [f"unexpected {key}" for key in weights if key not in own]
    problems += [
        f"{key} has shape {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own if key in weights and weights[key].shape != own[key].shape
    ]  # fmt: skip
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{where}: does not fit {type(network).__name__}: {'; '.join(problems[:5])}{more}")
    network.load_state_dict(weights)


def aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are the same memory as an earlier one, with the earlier one's name."""
    first: dict[tuple, str] = {}
    found = {}
    for key, value in state.items():
        if value.numel() and (same := first.setdefault((value.data_ptr(), value.shape, value.stride()), key)) != key:
            found[key] = same
    return found


@contextlib.contextmanager
def replacing(folder: Path):
    """A temporary sibling that takes the place of `folder` when the block ends without error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = new.with_name(new.name + ".old")
    try:
        yield new
        new.chmod(0o755)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _on_disk(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, floating weights in `dtype`; a tensor with two names is written once."""
    out, twice = {}, aliases(state)
    for key, value in state.items():
        if key in twice:
            continue
        keep = not value.is_floating_point() or key.endswith(KEEP_FLOAT32)
        out[key] = value.detach().to("cpu", value.dtype if keep else dtype, copy=True).contiguous()
    return out


def _automatic_provenance(network: Network, config: str) -> dict[str, Any]:
    return {
        "mld_version": __version__,
        "git_sha": git_sha(),
        "config_hash": hashlib.sha256(config.encode()).hexdigest()[:16],
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def git_sha() -> str:
    """Commit of the source tree this package runs from; "" when it is not a git checkout."""
    import subprocess

    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
