"""Published checkpoints into our networks: a key map as data, nothing left over.

Every tensor of the file is loaded, ignored by a rule of the key map, or unexpected; every tensor of our network is
loaded, provided by us, or missing. Anything missing or unexpected is a refusal that lists it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.contracts.network import Network
from mld.models.usable import fault
from mld.motion.representations.registry import representation_of_width

KEPT = ("feature_mean", "feature_std", "latent_scale", "fake_latent", "end_latent")  # where no file has them


@dataclass
class Coverage:
    """What became of every tensor. ignored counts keys by the rule that took them; notes are for the reader."""

    loaded: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        lines = [f"loaded      {len(self.loaded)}", f"ignored     {sum(self.ignored.values())}"]
        lines += [f"              {count} by {rule}" for rule, count in self.ignored.items()]
        for name in ("missing", "unexpected"):
            keys = getattr(self, name)
            lines += [f"{name.ljust(12)}{len(keys)}", *(f"              {key}" for key in keys)]
        return "\n".join((*lines, *(f"note: {note}" for note in self.notes)))

    def require_complete(self, file: Path) -> None:
        """`CheckpointError` with the list when anything is missing or unexpected."""
        if self.missing or self.unexpected:
            kinds = (("missing", self.missing), ("unexpected", self.unexpected))
            found = [f"{len(names)} {kind}: {', '.join(names[:2])}" for kind, names in kinds if names]
            raise CheckpointError(f"{file} does not fit, {'; '.join(found)}", self.report())


@dataclass(frozen=True)
class KeyMap:
    """prefixes: theirs -> ours, the first that fits counts. ignored: patterns. provided: ours that no file has. parts:
    theirs -> ours, of names between dots, wherever they stand behind a prefix; each way there is one name for another.
    """

    prefixes: Mapping[str, str]
    ignored: tuple[str, ...]
    provided: frozenset[str]
    parts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> KeyMap:
        """The map in a YAML file, which stands beside the network that it fills."""
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        return cls(
            data["prefixes"], tuple(data["ignored"]), frozenset(data["provided"]), data.get("parts", {})
        )

    def translate(self, state: Mapping[str, Tensor], coverage: Coverage) -> dict[str, Tensor]:
        """Tensors under our names; `coverage` learns what was ignored and what is unexpected."""
        own: dict[str, Tensor] = {}
        for key, value in state.items():
            rule = next((pattern for pattern in self.ignored if re.search(pattern, key)), None)
            prefix = next((prefix for prefix in self.prefixes if key.startswith(prefix)), None)
            if rule is not None:
                coverage.ignored[rule] += 1
            elif prefix is None:
                coverage.unexpected.append(key)
            else:
                own[self.prefixes[prefix] + _renamed(key.removeprefix(prefix), self.parts)] = value
        return own

    def published(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors under our names as they are called in published files; where there are several names, the first."""
        theirs: dict[str, str] = {}
        for prefix, ours in self.prefixes.items():
            theirs.setdefault(ours, prefix)
        found = {key: next(ours for ours in theirs if key.startswith(ours)) for key in own}
        back = {ours: theirs for theirs, ours in self.parts.items()}
        return {theirs[ours] + _renamed(key.removeprefix(ours), back): own[key] for key, ours in found.items()}


def _renamed(name: str, parts: Mapping[str, str]) -> str:
    return ".".join(parts.get(one, one) for one in name.split("."))


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def fill(
    network: Network, prefix: str, weights: Mapping[str, Tensor], keymap: KeyMap, coverage: Coverage, file: Path
) -> Network:
    """Load what fits; refuse when anything is missing, unexpected or of another shape."""
    state = network.state_dict()
    wanted = {prefix + key: value for key, value in state.items()}
    for key, value in weights.items():
        if prefix and not key.startswith(prefix):
            continue
        if key not in wanted:
            coverage.unexpected.append(key)
        elif value.shape != wanted[key].shape:
            coverage.unexpected.append(f"{key} of shape {tuple(value.shape)}, {tuple(wanted[key].shape)} is needed")
        elif what := fault(value, wanted[key]):
            coverage.unexpected.append(f"{key} {what}")
        else:
            coverage.loaded.append(key)
    coverage.missing += [key for key in wanted if key not in weights and key not in keymap.provided]
    coverage.require_complete(file)
    kept = {key: value for key, value in state.items() if key.endswith(KEPT)}
    network.load_state_dict({**kept, **{key.removeprefix(prefix): weights[key] for key in coverage.loaded}})
    return network.eval()


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers the group of `pattern` takes among the keys."""
    return len({match[1] for key in weights if (match := re.fullmatch(pattern, key))})


def shape(weights: Mapping[str, Tensor], name: str, dimensions: int, file: Path) -> tuple[int, ...]:
    """The shape of a weight; `CheckpointError` where it has not so many dimensions."""
    found = tuple(weights[name].shape)
    if len(found) != dimensions:
        told = f"{name} has the shape {found}, expected {dimensions} numbers"
        raise CheckpointError(f"{file}: {told}; the file is damaged, or another model's")
    return found


def representation_for(width: int, file: Path) -> str:
    """The name of the representation with so many columns; `CheckpointError` names the file that wants another."""
    found = representation_of_width(width)
    if found is None:
        raise CheckpointError(f"{file}: made for {width} features; no representation has that width")
    return found.name
