"""Which evaluators an evaluation works with: those that are named, or the bundled ones that fit the clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mld.errors import CheckpointError, DataError, MldError
from mld.example import Caption

if TYPE_CHECKING:
    from mld.models.contracts.evaluator import MotionEvaluator

PROBE = Caption("a person walks")


class _OtherClips(DataError):
    """An evaluator reads another representation or frame rate."""


@dataclass(frozen=True)
class Evaluator:
    """label: how its results are named. folder: it comes from there. origin: what the folder says of its making."""

    label: str
    network: MotionEvaluator
    folder: Path = Path()
    origin: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        return self.network.fingerprint()

    @property
    def name(self) -> str:
        """For the protocol: family, kind of statistics and fingerprint."""
        statistics = getattr(self.network.config, "normalizer", "own")
        return f"{self.network.family}-{statistics}@{self.fingerprint}"


def bundled() -> dict[str, Path]:
    """The evaluators that come with the package, by name."""
    import mld

    folder = Path(mld.__file__).parent / "assets" / "evaluators"
    return {name: folder / name for name in ("tmr", "guo", "tmr_272") if (folder / name).is_dir()}


def open_evaluators(
    folders: Sequence[Path] | None, representation: str, fps: float
) -> tuple[list[Evaluator], str]:
    """The evaluators of the folders, or for None the bundled ones; and why one is left out or there is none. A named
    one that does not fit the clips or cannot work here is an error, a bundled one is left out."""
    if folders is not None:
        opened = _labelled([_open(folder, representation, fps) for folder in folders])
        return opened, "" if opened else "left out by --evaluator none"
    found, reasons = [], []
    for name, folder in bundled().items():
        try:
            found.append(_open(folder, representation, fps, name))
        except _OtherClips:
            continue
        except MldError as error:
            reasons.append(f"bundled '{name}': {error}")
    if not found and not reasons:
        return [], (
            f"needs an evaluator of '{representation}' at {fps:g} fps, none is bundled; train one"
            " (configs/evaluator) and name it with --evaluator DIR"
        )
    return found, "; ".join(reasons)


def _open(folder: Path, representation: str, fps: float, label: str = "") -> Evaluator:
    from mld.checkpoint import load_model, read_provenance, resolve_folder

    place = resolve_folder(folder)
    network = load_model(place)
    if network.kind != "evaluator":
        raise CheckpointError(f"{folder} holds a {network.kind}, not an evaluator; python -m train makes one")
    if not network.can_embed:
        raise CheckpointError(f"{folder}: only a part of this evaluator is trained; train its last stage first")
    try:
        network.check_clips(representation, fps)
    except DataError as error:
        raise _OtherClips(f"{folder}: {error}") from error
    try:
        network.embed_text([PROBE])  # its text encoder may be a package that is not installed
    except MldError as error:
        raise type(error)(f"{folder}: {error}") from error
    return Evaluator(label or network.family, network, place, read_provenance(place))


def _labelled(found: list[Evaluator]) -> list[Evaluator]:
    """Two of one family go by the names of their folders, or by number where these are alike, too."""
    families = [each.label for each in found]
    names = [each.label if families.count(each.label) == 1 else each.folder.name for each in found]
    return [
        replace(each, label=name if names.count(name) == 1 else f"{name}-{i}")
        for i, (name, each) in enumerate(zip(names, found), start=1)
    ]
