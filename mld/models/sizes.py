"""Sizes and shares that a user may write into a config are checked before a network is built of them: otherwise the
network's own parts complain, in words of their own, about a dimension of -1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mld.errors import ConfigError

LARGEST, DEEPEST = 2**20, 2**10  # no layer is as wide, no network has as many


def check_sizes(config: Any, sizes: Sequence[str], shares: Sequence[str] = (), optional: Sequence[str] = ()) -> None:
    """`ConfigError` that names a field of `config` which is wrong: `sizes` are whole numbers from 1 on, `optional` ones
    from 0 on, `shares` lie between 0 and 1."""
    for least, names in ((1, sizes), (0, optional)):
        for name in names:
            if not least <= (value := getattr(config, name)) < _most(name):
                raise ConfigError(f"{name} is {value}, expected a whole number from {least} on")
    for name in shares:
        if not 0 <= (value := getattr(config, name)) <= 1:
            raise ConfigError(f"{name} is {value}, expected a number between 0 and 1")


def check_factors(config: Any, names: Sequence[str]) -> None:
    """`ConfigError` where a field of `config` is negative or no number to compute with."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < math.inf:
            raise ConfigError(f"{name} is {value}, expected a number from 0 on")


def filled(known: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """All of `known`, the sizes of a language model by name, with `sizes` put in. `ConfigError` for an unknown name, or
    a value that is of another kind than the known one, or absurd."""
    if unknown := set(sizes) - set(known):
        raise ConfigError(f"lm.architecture: unknown {sorted(unknown)}; known: {', '.join(known)}")
    for name, value in sizes.items():
        if wanted := _wanted(name, value, known[name]):
            raise ConfigError(f"lm.architecture.{name} is {value!r}, expected {wanted}")
    return {**known, **sizes}


def check_activation(name: str, activation: str) -> None:
    """`ConfigError` where transformers knows no such activation, which may be gated."""
    from transformers.activations import ACT2FN

    if activation.removeprefix("gated-") not in ACT2FN:
        raise ConfigError(f"lm.architecture.{name} '{activation}' is not one of {', '.join(sorted(ACT2FN))}")


def _wanted(name: str, value: Any, usual: Any) -> str:
    """What should stand there instead of `value`; "" where it can stay. A usual value of none is that of a size that
    follows from others."""
    if isinstance(usual, (bool, str)):
        fits = isinstance(value, type(usual)) or name == "attention_mode"  # which may be null, and is checked by itself
        return "" if fits else "true or false" if isinstance(usual, bool) else "a name"
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(usual, float):
        most = 1.0 if "drop" in name else math.inf
        return "" if number and 0 <= value <= most else f"a number {'between 0 and 1' if most == 1 else 'from 0 on'}"
    if value is None and usual is None:
        return ""
    least = 0 if name.endswith(("pad_id", "vocab_size")) else 1
    fits = number and isinstance(value, int) and least <= value < _most(name)
    return "" if fits else f"a whole number from {least} on"


def _most(name: str) -> int:
    return DEEPEST if name.endswith(("layers", "layer", "depth")) else LARGEST
