"""Model folders to hand on: with a model card that the Hugging Face hub reads, and onto the hub."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mld.checkpoint import CONFIG, PROVENANCE, save_model
from mld.errors import CheckpointError
from mld.models.contracts.network import Network

CARD = "README.md"
USES = {  # title and first steps, by kind
    "generator": ("A motion-language model", "Open it with `mld.load(folder)` or `mld demo --model FOLDER`."),
    "tokenizer": ("A motion tokenizer", "Train a model over it: `mld train --cfg FILE init_from=FOLDER`."),
    "evaluator": ("An evaluator of motion and words", "Score a model with it: `mld test --evaluator FOLDER`."),
}
GIVEN = ("words", "words and a motion", "words and two motions")  # by the number of motions in a request


def write_release(network: Network, out: str | Path, dtype: str, origin: Mapping[str, Any]) -> Path:
    """A model folder with a model card. origin: the provenance, with `licence`, and `credit` and `about` if wanted."""
    folder = save_model(network, out, _portable(origin), dtype)
    known = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    (folder / CARD).write_text(model_card(network, known), encoding="utf-8")
    return folder


def push_model(
    network: Network, name: str, licence: str, private: bool = False, dtype: str = "float16",
    origin: Mapping[str, Any] | None = None, credit: str = "", about: str = "",
) -> str:  # fmt: skip
    """Put a network onto the hub as a model folder with a card; the address. See `push_folder`."""
    check_name(name)
    terms = {"licence": licence, "credit": credit, "about": about}
    with tempfile.TemporaryDirectory() as place:
        folder = write_release(network, Path(place) / "model", dtype, {**(origin or {}), **terms})
        return push_folder(folder, name, private)


def push_folder(folder: str | Path, name: str, private: bool = False) -> str:
    """Put a model folder onto the hub, into a repository that is made where there is none; its address. The hub's own
    login is used (`hf auth login`). `CheckpointError` where the hub refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    if not (Path(folder) / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no model folder (it has no {CONFIG})")
    check_name(name)
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Model folder of mld"))
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{name}: the hub did not take the folder ({reason}); `hf auth login`?") from error


def check_name(name: str) -> None:
    """`CheckpointError` for what cannot be a repository."""
    if name.count("/") != 1 or not all(name.split("/")):
        raise CheckpointError(f"{name}: a name on the hub is OWNER/NAME")


def model_card(network: Network, origin: Mapping[str, Any]) -> str:
    """The text of a card, front matter first."""
    rows = {
        "family": network.family,
        "makes": _made(network),
        "parameters": f"{origin.get('parameters', 0) / 1e6:.1f} M",
        "trained as": f"{origin.get('run', 'unknown')}, {origin.get('step', '?')} steps in the last stage",
        "data": origin.get("data", "unknown"),
        "licence": origin["licence"],
    }
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items())
    about, credit = origin.get("about", ""), origin.get("credit", "")
    title, use = USES.get(network.kind, USES["tokenizer"])
    parts = [f"# {title}", about, f"| | |\n|---|---|\n{table}", credit]
    use = f"{use} `provenance.json` has the details."
    return _front_matter(network, origin["licence"]) + "\n\n".join(part for part in (*parts, use) if part) + "\n"


def _made(network: Network) -> str:
    """What a network gives, and for what."""
    answers = getattr(network, "answers", ())
    if not answers:
        return {"tokenizer": "tokens of motion"}.get(network.kind, f"scores of motion ({network.kind})")
    shapes = sorted(answers, key=lambda shape: (shape.output, shape.clips))
    led = getattr(getattr(network, "config", None), "references", False)  # by a motion, which a model may be without
    made = [
        f"{shape.output} for {'a reference motion' if shape.reference else GIVEN[shape.clips]}"
        for shape in shapes if led or not shape.reference
    ]  # fmt: skip
    return ", ".join(made) + ("; streams" if network.streams() else "")


def _cell(value: Any) -> str:
    """A value as one cell of a table."""
    return "; ".join(" ".join(line.split()) for line in str(value).splitlines()).replace("|", "\\|")


def _portable(origin: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance without the places of this machine: of earlier models the last names of their folders remain."""
    parents = [
        {**parent, "folder": Path(*Path(str(parent["folder"])).parts[-4:]).as_posix()}
        if Path(str(parent.get("folder", ""))).is_absolute() else dict(parent)
        for parent in origin.get("parents", ())
    ]  # fmt: skip
    return {**origin, "parents": parents} if parents else dict(origin)


def _front_matter(network: Network, licence: str) -> str:
    """What the hub reads of a model card. A licence that is no identifier goes as a name of its own."""
    simple = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", licence)
    terms = {"license": licence.lower()} if simple else {"license": "other", "license_name": licence}
    tags = ["human-motion", *(["text-to-motion"] if network.kind == "generator" else []), network.family]
    card = {**terms, "library_name": "mld", "language": "en", "tags": tags}
    return f"---\n{yaml.safe_dump(card, sort_keys=False, allow_unicode=True)}---\n\n"
