"""`Normalizer`: mean and standard deviation of a representation's columns. It belongs to a model and travels with it.

Statistics of several kinds are around and are not exchangeable (evaluation spec 1.4, 6.5): `data` (HumanML3D release),
`guo_eval` (Guo evaluator and MotionGPT: root and contact columns divided by 25), `tmr` (per column), `fitted` (own).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError
from mld.files import atomically, write_array
from mld.motion.representations.base import Representation
from mld.reading import read_array

BIASED_ROLES = ("root", "contacts")
_STILL = 1e-8  # a std below is that of columns that do not change
KINDS = ("data", "guo_eval", "tmr", "fitted", "identity")


@dataclass(frozen=True, eq=False)
class Moments:
    """Of rows of features: how many, their mean (D,) and the sum of squared differences from it (D,), float64."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, width: int) -> Moments:
        return cls(0, np.zeros(width), np.zeros(width))

    def and_of(self, rows: np.ndarray) -> Moments:
        """With those of more rows (T, D) float64."""
        mean = rows.mean(0)
        return self.and_those(Moments(len(rows), mean, np.square(rows - mean).sum(0)))

    def and_those(self, other: Moments) -> Moments:
        """Of both (Chan, Golub and LeVeque 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        total = self.count + other.count
        shift, share = other.mean - self.mean, other.count / total
        squares = self.squares + other.squares + np.square(shift) * (self.count * share)
        return Moments(total, self.mean + shift * share, squares)


Rows = Iterable[Tensor] | Moments  # clips (T, D), or what is known of all of them


@dataclass(frozen=True, eq=False)
class Normalizer:
    """mean, std (D,) float32 of feature columns; kind says where the numbers are from (one of `KINDS`)."""

    mean: Tensor
    std: Tensor
    kind: str = "fitted"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name), dtype=torch.float32))
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.std.shape)}"
            raise DataError(f"normalizer: mean and std have the shapes {shapes}, both have to be (D,)")
        if self.kind not in KINDS:
            raise DataError(f"normalizer: kind '{self.kind}' is not known; known: {', '.join(KINDS)}")

    @property
    def width(self) -> int:
        return self.mean.shape[0]

    def normalize(self, features: Tensor) -> Tensor:
        """Raw features (..., D) to zero mean and unit scale."""
        return (features - self.mean.to(features)) / self.std.to(features)

    def denormalize(self, features: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return features * self.std.to(features) + self.mean.to(features)

    @classmethod
    def identity(cls, width: int) -> Normalizer:
        return cls(torch.zeros(width), torch.ones(width), "identity")

    @classmethod
    def fit(
        cls, features: Rows, representation: Representation, feature_bias: float = 1.0, kind: str = "fitted"
    ) -> Normalizer:
        """Statistics of clips (T, D), as `statistics` computes them, in float32."""
        return cls(*statistics(features, representation, feature_bias), kind)

    @classmethod
    def fit_columns(cls, features: Rows, representation: Representation, kind: str = "tmr") -> Normalizer:
        """As `fit`, but each column has a std of its own (evaluation spec 2.2); one that never changes gets std 1."""
        mean, std = _moments(features, representation)
        return cls(mean, torch.where(std < _STILL, 1.0, std), kind)

    @classmethod
    def load(cls, folder: str | Path, kind: str = "fitted") -> Normalizer:
        """`mean.npy` and `std.npy` (or `Mean.npy` and `Std.npy`) of a folder."""
        mean, std = (torch.as_tensor(_read(Path(folder), name)) for name in ("mean", "std"))
        return cls(mean, std, kind)

    def save(self, folder: str | Path) -> None:
        """Write `mean.npy` and `std.npy`, float32 (D,)."""
        folder = Path(folder)
        for name, values in (("mean.npy", self.mean), ("std.npy", self.std)):
            with atomically(folder / name) as new:
                write_array(new, values.numpy())

    def check(self, representation: Representation) -> Normalizer:
        """The normalizer itself; `DataError` when its numbers cannot be what its kind says for this representation.

        Wrong width, NaN, std not above 0. For 263 and 251 columns `guo_eval` needs a yaw std below 0.001, and `data`
        and `tmr` one above it: this catches the exchange of evaluator and data set statistics (motiongpt spec 1.6).
        """
        if self.width != representation.width:
            raise DataError(f"statistics have {self.width} columns, '{representation.name}' has {representation.width}")
        if not (self.mean.isfinite().all() and self.std.isfinite().all() and (self.std > 0).all()):
            raise DataError("statistics hold NaN or infinity, or a std that is not above 0; compute them again")
        if representation.evaluator_std is None:
            return self
        column, limit = representation.evaluator_std
        found = float(self.std[column])
        if self.kind == "guo_eval" and found >= limit:
            raise DataError(f"std of the yaw velocity is {found:.3g}: these are data set statistics, but the model was "
                            f"trained with those of the Guo evaluator (std[{column}] below {limit:g})")
        if self.kind in ("data", "tmr") and found < limit:
            raise DataError(f"std of the yaw velocity is {found:.3g}: these are statistics of the Guo evaluator, but "
                            f"those of the data set are needed (std[{column}] above {limit:g})")
        return self


def statistics(
    features: Rows, representation: Representation, feature_bias: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mean and std (D,) float64 of clips (T, D), in one pass: mean per column, population std averaged over each block,
    or per column where the representation does not average (`averages_std`).

    feature_bias: the std of root and contact columns is divided by it (25 in the published evaluator), which gives them
    more weight. What never changes gets std 1. Raises `DataError` without rows or with NaN.
    """
    mean, std = _moments(features, representation)
    if representation.averages_std:
        for part in representation.blocks.values():
            std[part] = std[part].mean()
    changes = std >= _STILL
    std[~changes] = 1.0
    biased = torch.zeros_like(changes)
    biased[representation.columns(*BIASED_ROLES)] = True
    std[changes & biased] /= feature_bias
    return mean, std


def _moments(clips: Rows, representation: Representation) -> tuple[Tensor, Tensor]:
    """Mean and population std (D,) float64 over all rows of all clips, merged clip by clip (Chan et al.)."""
    if isinstance(clips, Moments):
        return torch.from_numpy(clips.mean.copy()), torch.from_numpy(clips.squares / clips.count).sqrt()
    count, mean, squares = 0, torch.zeros(representation.width).double(), torch.zeros(representation.width).double()
    for number, clip in enumerate(clips):
        rows = torch.as_tensor(clip).double()
        representation.check_width(rows)
        if not rows.isfinite().all():
            raise DataError(f"clip {number} of the statistics holds NaN or infinity; leave it out")
        total = count + len(rows)
        if total == count:
            continue
        shift = rows.mean(0) - mean
        squares += (rows - rows.mean(0)).square().sum(0) + shift.square() * (count * len(rows) / total)
        mean = mean + shift * (len(rows) / total)
        count = total
    if not count:
        raise DataError("there are no clips to compute statistics from")
    return mean, (squares / count).sqrt()


def _read(folder: Path, name: str) -> np.ndarray:
    for path in (folder / f"{name}.npy", folder / f"{name.capitalize()}.npy"):
        if path.is_file():
            try:
                return read_array(path)
            except ValueError as error:
                raise DataError(f"{path}: not a readable .npy array") from error
    raise DataError(f"{folder}: there is no {name}.npy; compute it with 'python -m prepare.data stats'")
