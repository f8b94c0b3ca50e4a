"""METEOR 1.5 through Java, by the optional package pycocoevalcap (extra `nlg`)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import torch
from torch import Tensor

from mld.errors import DataError, missing_extra


def meteor(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, Tensor]:
    """Captions and their references -> corpus value and values per item (N,), between 0 and 1.

    `MldError` where the package or Java is not there, or Java gives up."""
    if shutil.which("java") is None:
        raise DataError("METEOR needs Java, and there is no 'java' command")
    try:
        from pycocoevalcap.meteor.meteor import Meteor
    except ImportError as error:
        raise missing_extra("pycocoevalcap", "nlg") from error
    try:
        scorer = Meteor()
        said = {i: [_line(caption)] for i, caption in enumerate(predictions)}
        score, each = scorer.compute_score(
            {i: [_line(r) for r in several] for i, several in enumerate(references)}, said
        )
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"the Java program of METEOR failed: {error}") from error
    return float(score), torch.tensor([float(value) for value in each], dtype=torch.float64)


def _line(caption: str) -> str:
    """One line without the separator of the program."""
    return " ".join(caption.replace("|||", " ").split())
