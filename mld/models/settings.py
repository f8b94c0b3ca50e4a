"""Config dataclasses <-> plain dictionaries, for model folders and for a model that carries its tokenizer's config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mld.errors import CheckpointError
from mld.models.base import Network, find


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def from_dict(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """`cls` filled from `values`; `CheckpointError` names the unknown or mistyped key. `where` is for the message."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), dict(values)))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{where}: not a valid {cls.__name__}: {reason}") from error


def describe(network: Network) -> dict[str, Any]:
    """What rebuilds the architecture: kind, family and config."""
    return {"kind": network.kind, "family": network.family, "config": to_dict(network.config)}


def rebuild(description: Mapping[str, Any], where: str, folder=None) -> Network:
    """The network that `describe` described, weights not loaded; `folder` holds text-tokenizer files, if any."""
    missing = {"kind", "family", "config"} - set(description)
    if missing:
        raise CheckpointError(f"{where}: lacks {', '.join(sorted(missing))}")
    cls = find(description["kind"], description["family"])
    return cls.restore(from_dict(cls.Config, description["config"], where), folder)
