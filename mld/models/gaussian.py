"""The distribution that encoders give: independent normal numbers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Gaussian(NamedTuple):
    """Diagonal normal distributions: mu and logvar (B, ..., C)."""

    mu: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return (self.logvar / 2).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """mu + noise * std, all of one shape."""
        return self.mu + noise * self.std
