"""Which evaluators a command works with: those named by `--evaluator`, or the bundled ones that fit the clips."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mld.errors import CheckpointError, MldError
from mld.example import Caption

if TYPE_CHECKING:
    from mld.models.contracts.evaluator import MotionEvaluator

NONE = "none"
PROBE = Caption("a person walks")


@dataclass(frozen=True)
class Found:
    """An evaluator of a folder. label: how its results are named."""

    label: str
    folder: Path
    network: MotionEvaluator
    origin: dict[str, Any] = field(default_factory=dict)


def bundled() -> dict[str, Path]:
    """The evaluators that come with the package, by name."""
    import mld

    folder = Path(mld.__file__).parent / "assets" / "evaluators"
    return {name: folder / name for name in ("tmr", "guo") if (folder / name).is_dir()}


def open_evaluators(named: list[str] | None, representation: str, fps: float) -> tuple[list[Found], str]:
    """The evaluators, and why one is left out or there is none. A named one that does not fit the clips or cannot work
    here is an error, a bundled one is left out."""
    if named:
        if NONE in named:
            return [], "left out by --evaluator none"
        return _labelled([_open(Path(folder), representation, fps) for folder in named]), ""
    found, reasons = [], []
    for name, folder in bundled().items():
        try:
            found.append(_open(folder, representation, fps, name))
        except MldError as error:
            reasons.append(f"bundled '{name}': {error}")
    nothing = "needs an evaluator network, none is bundled; name one with --evaluator DIR"
    return found, "; ".join(reasons) or ("" if found else nothing)


def _open(folder: Path, representation: str, fps: float, label: str = "") -> Found:
    from mld.checkpoint import PROVENANCE, load_model, resolve_folder

    place = resolve_folder(folder)
    network = load_model(place)
    if network.kind != "evaluator":
        raise CheckpointError(f"{folder} holds a {network.kind}, not an evaluator; python -m train makes one")
    if not network.can_embed:
        raise CheckpointError(f"{folder}: only a part of this evaluator is trained; train its last stage first")
    try:
        network.check_clips(representation, fps)
        network.embed_text([PROBE])  # its text encoder may be a package that is not installed
    except MldError as error:
        raise type(error)(f"{folder}: {error}") from error
    origin = place / PROVENANCE
    known = json.loads(origin.read_text(encoding="utf-8")) if origin.is_file() else {}
    return Found(label or network.family, place, network, known)


def _labelled(found: list[Found]) -> list[Found]:
    """Two of one family go by the names of their folders, or by number where these are alike, too."""
    families = [each.label for each in found]
    names = [each.label if families.count(each.label) == 1 else each.folder.name for each in found]
    return [
        Found(name if names.count(name) == 1 else f"{name}-{i}", each.folder, each.network, each.origin)
        for i, (name, each) in enumerate(zip(names, found), start=1)
    ]
