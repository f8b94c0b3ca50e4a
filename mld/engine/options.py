"""Arguments of the Python calls: lists, one value for many, and settings of sampling for one call."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mld.errors import RequestError, nearest
from mld.models.contracts.generator import MotionGenerator
from mld.models.generation import GenerationSettings
from mld.models.sizes import check_factors

# Settings of heads, beside those of answers that are made token after token.
OF_HEADS = ("guidance_scale", "temperature", "num_inference_steps", "sampler")
# When a motion may end, whether by itself, and whether a length in words is read.
OF_ENDS = ("least_codes", "ends", "least_latents", "end_distance", "length_words")
# Of flows: where a sample begins, and what becomes of its frames.
OF_FLOWS = ("shift", "strength", "smooth", "reconcile", "default_frames")
FACTORS = ("guidance_scale", "temperature", "end_distance")  # any number from 0 on
OF_DIFFUSION = {"sampler": "--sampler", "num_inference_steps": "--steps"}
OF_ANSWERS = tuple(field.name for field in dataclasses.fields(GenerationSettings))
SAMPLING = tuple(dict.fromkeys((*OF_ANSWERS, *OF_HEADS, *OF_ENDS, *OF_FLOWS)))
NAMED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
HOLDERS = ("motion_generation", "", "head")  # of a config: where a setting is looked for, "" is the config itself


def listed(values: Any, what: str, kind: type) -> list[Any]:
    """A list of values of one kind; `RequestError` for anything else."""
    items = list(values) if isinstance(values, (list, tuple)) else None
    if items is None or not items or not all(isinstance(item, kind) for item in items):
        raise RequestError(f"{what}: a {kind.__name__} or a list of them is needed, not {type(values).__name__}")
    return items


def spread(value: Any, count: int, what: str) -> list[Any]:
    """One value for all, or the values of a list of the right length."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise RequestError(f"{what}: {len(value)} values are given for {count} texts")
    return list(value)


@contextmanager
def sampled_by(model: MotionGenerator, settings: Mapping[str, Any]) -> Iterator[None]:
    """The model with other settings of sampling while the block runs. `RequestError` for one that it does not have;
    `ConfigError` for a value that cannot be."""
    if not settings:
        yield
        return
    old = model.config
    set_sampling(model, settings)
    try:
        yield
    finally:
        model.adopt(old)


def set_sampling(model: MotionGenerator, settings: Mapping[str, Any]) -> None:
    """Give the model other settings of sampling from now on. Errors as of `sampled_by`; then nothing has changed."""
    new = copy.deepcopy(model.config)
    places = {name: holder for name in SAMPLING if (holder := _holder(new, name)) is not None}
    for name, value in settings.items():
        if name not in places and name in OF_DIFFUSION:
            raise RequestError(f"'{name}' ({OF_DIFFUSION[name]} of commands) is for models with a diffusion head, and "
                               "this one has none; leave it out")  # fmt: skip
        if name not in places:
            raise RequestError(f"this model has no setting '{name}' of sampling; {nearest(name, places)}")
        kind = type(getattr(places[name], name))
        if not isinstance(value, (int, float) if kind is float else (kind, int) if kind is str else kind):
            raise RequestError(f"{name}: {NAMED.get(kind, kind.__name__)} is needed, not {value!r}")
        setattr(places[name], name, kind(value))
    for holder in places.values():
        if isinstance(holder, GenerationSettings):
            holder.__post_init__()
        else:
            check_factors(holder, [name for name in FACTORS if places.get(name) is holder])
    model.adopt(new)


def has_setting(config: Any, name: str) -> bool:
    """Whether models of such a config have a setting of sampling."""
    return _holder(config, name) is not None


def _holder(config: Any, name: str) -> Any:
    """The part of a config that has the setting."""
    for place in HOLDERS:
        part = getattr(config, place, None) if place else config
        if part is not None and hasattr(part, name):
            return part
    return None
