"""Model folders: `config.yaml`, `model.safetensors`, text-tokenizer files and `provenance.json`.

A folder alone rebuilds the network, offline. It is written beside its final place and renamed, so a reader never sees
half of one. Large weights are in several files, `model-00001-of-00002.safetensors`, and an index of them. Loading is
strict: a missing, unexpected or misshapen tensor is a `CheckpointError` that names it (`mld.models.loading`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError, ConfigError, shown
from mld.files import file_hash, parse_json, recover, replacing, write_tensors
from mld.models.contracts.network import Network
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.loading import KEEP_FLOAT32, aliases, read_into, without_weights
from mld.models.packed_weights import is_worth_packing, pack_tensor
from mld.models.quantization import Rounding, check_weights
from mld.models.registry import find
from mld.packaged import PACKAGE, bundled_models
from mld.reading import read_bytes, read_text
from mld.version import __version__
from mld.yaml_text import read_yaml

FORMAT = 2
PART_KINDS = {"tokenizer": "tokenizer", "text": TextEncoder.kind}  # by the name of the part
CONFIG, WEIGHTS, PROVENANCE = "config.yaml", "model.safetensors", "provenance.json"
INDEX = WEIGHTS + ".index.json"  # as Hugging Face has it
OWN_FILES = (CONFIG, WEIGHTS, INDEX, PROVENANCE)
LARGEST_FILE = 5_000_000_000  # bytes of weights in one file
DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float16}  # of what is no large matrix


def save_model(
    network: Network,
    folder: str | Path,
    provenance: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    state: Mapping[str, Tensor] | None = None,
    largest_file: int = LARGEST_FILE,
) -> Path:
    """Write a model folder, replacing an older one only when the new one is complete. `CheckpointError` for a folder of
    other things.

    provenance: what is known of the origin (data hash, parent checkpoints, licence, ...); git sha, config hash and
    parameter count are added. dtype: "float32" or "float16" for the weights on disk (statistics stay float32), or
    "int8" for large matrices in 8 bits with a scale for 64 numbers (`mld.models.packed_weights`) and the rest in
    float16. state: the weights of a network cut into shards, gathered, each once. largest_file: bytes of weights in one
    file."""
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype '{dtype}' is not one of {', '.join(DTYPES)}")
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in OWN_FILES):
        raise CheckpointError(f"{folder}: holds other files and is no model folder; name a new one")
    config = yaml.safe_dump({"format": FORMAT, **network.describe()}, sort_keys=False, allow_unicode=True)
    with replacing(folder) as new:
        (new / CONFIG).write_text(config, encoding="utf-8")
        if state is None:
            twice = aliases(network)
            state = {key: value for key, value in network.state_dict().items() if key not in twice}
        _write_weights(state, dtype, new, largest_file)
        network.save_assets(new)
        origin = {
            **_automatic_provenance(network, config), **(provenance or {}), "weights_dtype": dtype,
        }  # fmt: skip
        (new / PROVENANCE).write_text(json.dumps(origin, indent=2, default=str) + "\n", encoding="utf-8")
    return folder


def load_model(
    path_or_hub_id: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Network:
    """The network of a model folder (or of a Hugging Face hub id), in eval mode.

    dtype: of its floating weights, none for float32; statistics and tables stay as they are, so a network in half
    precision computes under `torch.autocast`."""
    return open_model(path_or_hub_id, device, dtype)[0]


def open_model(
    path_or_hub_id: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None,
    weights: str = "float32", before: Callable[[Network], None] | None = None,
) -> tuple[Network, Rounding | None]:  # fmt: skip
    """As `load_model`, with weights that are rounded while they are read (`mld.models.quantization`) and what that did;
    `CheckpointError` where memory does not suffice. before: called with the network before its weights are read."""
    check_weights(weights)
    folder = resolve_folder(path_or_hub_id)
    network = outline(folder)
    if before is not None:
        before(network)
    rounding = read_into(network, weights_files(folder) or [folder / WEIGHTS], device, dtype, weights)
    return network.to(device).eval(), rounding


def outline(folder: Path) -> Network:
    """The network of a model folder without weights (on the meta device): it takes no time, no memory, and tells what
    the model reads and makes. Not for two threads at once."""
    with without_weights():
        return rebuild(read_config(folder), str(folder / CONFIG), folder)


def resolve_folder(path_or_hub_id: str | Path) -> Path:
    """The local folder itself, the bundled model of that name, or the downloaded snapshot when the text
    is a hub id (`owner/name`)."""
    if not isinstance(path_or_hub_id, (str, Path)):
        raise CheckpointError(f"a folder or a name of a model is needed, not {type(path_or_hub_id).__name__}")
    folder = Path(path_or_hub_id).expanduser()
    recover(folder)
    if folder.is_dir():
        return folder
    name = str(path_or_hub_id)
    if not folder.exists() and name in bundled_models():
        return bundled_models()[name]
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"{name}: no such model folder (a folder with {CONFIG} and {WEIGHTS}), and "
                              f"no bundled model of that name: {', '.join(bundled_models())}")
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
        content = read_yaml(read_bytes(file))
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{file}: not readable as YAML ({reason})") from error
    if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
        raise CheckpointError(f"{file}: not a model config of format 1 or {FORMAT}")
    _check_described(content, str(file))
    return content if content["format"] == FORMAT else _from_format_1(content)


def _check_described(description: Any, where: str) -> None:
    """`CheckpointError` where a description has not the form of one."""
    if not isinstance(description, Mapping):
        raise CheckpointError(f"{where}: {shown(description)} does not describe a network")
    needed: dict[str, type] = {"kind": str, "family": str}
    if description.get("kind") != TextEncoder.kind:
        needed["config"] = Mapping
    for key, of in needed.items():
        if key not in description:
            raise CheckpointError(f"{where}: lacks {key}")
        if not isinstance(description[key], of):
            raise CheckpointError(f"{where}: {key} is {shown(description[key])}; that is no model folder's")
    if not isinstance(description.get("parts") or {}, Mapping):
        raise CheckpointError(f"{where}: parts is {shown(description['parts'])}, a mapping is needed")


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """There a generator was a "model", and its tokenizer stood in its config."""
    kind = "generator" if content["kind"] == "model" else content["kind"]
    config = dict(content["config"])
    parts = {"tokenizer": config.pop("tokenizer")} if kind == "generator" and "tokenizer" in config else {}
    return {**content, "format": FORMAT, "kind": kind, "config": config, "parts": parts}


def rebuild(description: Mapping[str, Any], where: str, folder: Path | None = None) -> Network:
    """The network that `Network.describe` described, over its parts, weights not loaded."""
    _check_described(description, where)
    try:
        cls = find(description["kind"], description["family"])
        parts = _parts(cls, description.get("parts") or {}, where, folder)
        return cls.restore(typed(cls.Config, description["config"], ""), parts, folder)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {str(error).removeprefix(': ')}") from error
    except MemoryError as error:
        raise CheckpointError(f"{where}: describes a network that needs more memory than there is") from error


def _parts(cls: type[Network], described: Mapping[str, Any], where: str, folder: Path | None) -> dict[str, Any]:
    """The parts of a class: networks, whose weights are among the owner's, or a text encoder, which stays closed until
    it is used."""
    if missing := [name for name in cls.needs if name not in described]:
        raise CheckpointError(f"{where}: part '{missing[0]}' of the {cls.kind} is not described")
    if unknown := [name for name in described if name not in (*cls.needs, *cls.may_have)]:
        raise CheckpointError(f"{where}: a {cls.kind} '{cls.family}' has no part '{unknown[0]}'")
    parts: dict[str, Any] = {}
    for name in (*cls.needs, *(name for name in cls.may_have if name in described)):
        part, place = described[name], f"{where}: parts.{name}"
        _check_described(part, place)
        if part["kind"] != PART_KINDS[name]:
            raise CheckpointError(f"{place} is a {part['kind']}, a {PART_KINDS[name]} is needed")
        if part["kind"] == TextEncoder.kind:
            parts[name] = find(TextEncoder.kind, part["family"]).restore(part, place, folder)
        else:
            parts[name] = rebuild(part, place)
    return parts


def read_provenance(folder: Path) -> dict[str, Any]:
    """What a model folder says of its making; nothing where it says nothing that can be read."""
    try:
        content = parse_json(read_text(folder / PROVENANCE))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def weights_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights: one, or those that the index names; none if there are none.

    `CheckpointError` for an index that cannot be read."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        names = parse_json(read_text(index))["weight_map"].values()
        return [folder / Path(name).name for name in sorted(set(names))]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index}: damaged or not an index of weights") from error


def weights_hash(folder: Path) -> str:
    """SHA-256 of a folder's weights, hexadecimal: of the file, or of the hashes of several; "" if there are none."""
    files = weights_files(folder)
    if len(files) > 1:
        return hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()
    return file_hash(files[0]) if files else ""


def _write_weights(state: Mapping[str, Tensor], dtype: str, folder: Path, largest: int) -> None:
    """Weights on disk, in as many files as are needed; memory holds a copy of one file at most."""
    groups: list[list[str]] = [[]]
    size = total = 0
    for key, value in state.items():
        own = value.numel() * (1 if _is_packed(key, value, dtype) else _disk_type(key, value, dtype).itemsize)
        if groups[-1] and size + own > largest:
            groups.append([])
            size = 0
        groups[-1].append(key)
        size, total = size + own, total + own
    names = [WEIGHTS]
    if len(groups) > 1:
        stem = WEIGHTS.removesuffix(".safetensors")
        names = [f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors" for i in range(1, len(groups) + 1)]
        index = {key: name for name, keys in zip(names, groups) for key in keys}
        content = {"metadata": {"total_size": total}, "weight_map": index}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name, keys in zip(names, groups):
        write_tensors(folder / name, _on_disk({key: state[key] for key in keys}, dtype), {"format": "pt"})


def _is_packed(key: str, value: Tensor, dtype: str) -> bool:
    floating = value.is_floating_point() and not key.endswith(KEEP_FLOAT32)
    return dtype == "int8" and floating and is_worth_packing(value.shape)


def _disk_type(key: str, value: Tensor, dtype: str) -> torch.dtype:
    return value.dtype if not value.is_floating_point() or key.endswith(KEEP_FLOAT32) else DTYPES[dtype]


def _on_disk(state: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, floating weights in `dtype`. `CheckpointError` for numbers that are too large."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if _is_packed(key, value, dtype):
            own = pack_tensor(key, value.detach().cpu())
        else:
            kind = _disk_type(key, value, dtype)
            own = {key: value.detach().to("cpu", kind, copy=True).contiguous()}
        halved = [one for one in own.values() if one.dtype == torch.float16]
        if not all(bool(one.isfinite().all()) for one in halved) and bool(value.isfinite().all()):
            raise CheckpointError(f"{key} holds numbers that are too large for {dtype}; keep it in float32")
        found |= own
    return found


def _automatic_provenance(network: Network, config: str) -> dict[str, Any]:
    return {
        "mld_version": __version__,
        "git_sha": git_sha(),
        "config_hash": hashlib.sha256(config.encode()).hexdigest()[:16],
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def git_sha() -> str:
    """Commit of the clone this package runs from; "" where it is installed, be it inside a clone of something else."""
    import subprocess

    here = PACKAGE.parent
    if not (here / ".git").exists():
        return ""
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
