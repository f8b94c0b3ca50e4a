"""Frozen transformers of the Hugging Face layout, from a folder, complete or not at all. Code in it is never run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld import reading
from mld.errors import CheckpointError
from mld.weight_files import check_finite, check_folder, check_loaded


def load_config(folder: Path) -> Any:
    """The library's config of a folder."""
    from transformers import AutoConfig

    with _readable(folder):
        return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def load_transformer(
    cls: Any, folder: Path, dtype: torch.dtype, optional: tuple[str, ...] = (), config: Any = None
) -> nn.Module:
    """cls: a class of the transformers library. optional: beginnings of the names of weights that may be missing.
    config: in place of the one in the folder.

    `CheckpointError` when it cannot be read, lacks weights, which the library would fill with random numbers, or has
    some of other shapes or that are no numbers."""
    config = load_config(folder) if config is None else config
    check_folder(folder)
    with _readable(folder), quiet():
        model, report = cls.from_pretrained(
            str(folder), config=config, local_files_only=True, trust_remote_code=False, dtype=dtype,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    check_loaded(report, str(folder), optional)
    check_finite(model.state_dict().items(), str(folder))
    return model


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    reading.check_folder(folder)
    try:
        yield
    except Exception as error:  # of damaged files libraries raise what comes to hand
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(f"{folder}: the text encoder cannot be read ({reason})") from error


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """States (B, S, Z) and mask (B, S) -> their means over real tokens (B, Z), float32."""
    weights = mask[..., None].float()
    return (states.float() * weights).sum(1) / weights.sum(1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (B, Z) of length 1."""
    return F.normalize(vectors, dim=-1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars and remarks on heads that are not loaded."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
