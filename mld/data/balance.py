"""How much kinds of clips count in training: each by the square root of how many clips it has, not by their number.

A kind is a label or a group, as the data set names them. Half of a set about one thing then is no half of what is
learnt, and a single clip of a rare kind does not come as often as a hundred of a frequent one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mld.data.clips import ClipSource
from mld.errors import ConfigError

JOINED = "\0joined"  # the kind of what was joined: it keeps the share of clips that it has


def kinds_of(source: ClipSource, by: str) -> Sequence[str]:
    """The label or group of every clip; `ConfigError` where a source knows none."""
    known = getattr(source, "kinds", None)
    if known is None:
        told = f"the clips of '{source.name}' have no {by} that is known before they are read"
        raise ConfigError(f"data.balance: {told}; leave it out for this source (balance: '')")
    return known(by)


def kind_shares(kinds: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The number of each clip's kind (N,), and how much of what is drawn is of each kind (K,), sum 1."""
    names, kind_of, counts = np.unique(np.asarray(kinds), return_inverse=True, return_counts=True)
    joined = names == JOINED
    shares = np.sqrt(counts.astype(float))
    total, whole = counts[joined].sum() / counts.sum(), shares[~joined].sum()
    return kind_of, np.where(joined, total, shares * (1 - total) / (whole or 1.0))


def draw_weights(source: ClipSource, by: str) -> np.ndarray:
    """How often each clip is drawn (N,), sum 1: of a mixture by the shares of its parts, each balanced in its way."""
    parts = getattr(source, "parts", None)
    if parts is not None:
        return np.concatenate([part.share * draw_weights(part.source, part.balance) for part in parts])
    if not by:
        return np.full(len(source), 1 / len(source))
    kind_of, shares = kind_shares(kinds_of(source, by))
    return (shares / np.bincount(kind_of))[kind_of]
