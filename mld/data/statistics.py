"""Mean and std of a data source, and whether statistics found next to a dataset are those of its features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import ClipSource, recordings, rows_of
from mld.motion.normalizer import BIASED_ROLES, Moments, Normalizer
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation

MANY = 2000
PUBLISHED_BIAS = 25.0
TOLERANCE = 2.0


def measure(source: ClipSource, feature_bias: float = 1.0) -> Normalizer:
    """Statistics over all frames of a source, each once (`normalizer.statistics`), std of root and contacts divided by
    feature_bias."""
    known = rows_of(source)
    rows = known if isinstance(known, Moments) else _features(source)
    return Normalizer.fit(rows, get_representation(source.representation), feature_bias)


def statistics_file(root: Path) -> Path | None:
    """`mean.npy` or `Mean.npy` of a dataset folder or of `mean_std` (of BABEL: `t2m_babel_mean_std`; of ViMoGen-228K:
    `meta_info`; of a set in several representations a folder below) in it, if it has one."""
    folders = (root, root / "mean_std", *sorted(root.glob("mean_std/vector_*")))
    folders += (root / "t2m_babel_mean_std", root / "meta_info")
    places = (folder / name for folder in folders for name in ("mean.npy", "Mean.npy"))
    return next((place for place in places if place.is_file()), None)


def compare(found: Normalizer, measured: Normalizer, representation: Representation) -> tuple[str, list[str]]:
    """Which statistics `found` are ("data" or "guo_eval"), and the blocks in which they do not fit `measured`.

    A block fits when its mean is within two standard deviations and its std within a factor of two."""
    kind, bias = "data", torch.ones(representation.width)
    if representation.evaluator_std is not None:
        column, _ = representation.evaluator_std
        if float(measured.std[column] / found.std[column]) > PUBLISHED_BIAS**0.5:
            kind, bias[representation.columns(*BIASED_ROLES)] = "guo_eval", PUBLISHED_BIAS
    misfits = []
    for name, part in representation.blocks.items():
        expected = measured.std[part] / bias[part]
        scale = (found.std[part] / expected).log().abs().max().exp()
        shift = ((found.mean[part] - measured.mean[part]) / measured.std[part]).abs().max()
        if not (scale <= TOLERANCE and shift <= TOLERANCE):
            misfits.append(f"{name} (std off by a factor of {scale:.2g}, mean by {shift:.2g} std)")
    return kind, misfits


def _features(source: ClipSource) -> Iterator[Tensor]:
    for features in tqdm(recordings(source), "statistics", disable=len(source) < MANY, leave=False):
        yield features.to(torch.float64)
