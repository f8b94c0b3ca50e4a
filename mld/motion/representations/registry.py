"""The representations by name. A new one is one line here."""

from __future__ import annotations

import importlib
from functools import lru_cache

from torch import Tensor

from mld.errors import ConfigError, nearest
from mld.motion.representations.base import Representation

REPRESENTATIONS = {
    "humanml3d": "mld.motion.representations.humanml3d:humanml3d",
    "kit": "mld.motion.representations.humanml3d:kit",
    "motion272": "mld.motion.representations.motion272:motion272",
    "motion276": "mld.motion.representations.motion276:motion276",
}


def representation_names() -> tuple[str, ...]:
    return tuple(REPRESENTATIONS)


@lru_cache
def get_representation(name: str) -> Representation:
    """"humanml3d" (263 columns, 20 fps), "kit" (251, 12.5 fps), "motion272" (30 fps), "motion276" (20 fps), ...;
    `ConfigError` names the nearest for another."""
    if name not in REPRESENTATIONS:
        raise ConfigError(f"no representation '{name}'; {nearest(name, REPRESENTATIONS)}")
    module, _, factory = REPRESENTATIONS[name].partition(":")
    return getattr(importlib.import_module(module), factory)()


def representation_of_rows(rows: Tensor) -> tuple[Representation, Tensor] | None:
    """The representation of which rows (T, more) are an older form, and its features (T, D) in them."""
    for name in REPRESENTATIONS:
        representation = get_representation(name)
        if (features := representation.of_wider(rows)) is not None:
            return representation, features
    return None


def representation_of_width(width: int) -> Representation | None:
    """The representation whose feature rows have that many columns, if there is one."""
    known = (get_representation(name) for name in REPRESENTATIONS)
    return next((representation for representation in known if representation.width == width), None)
