"""Keys and values of rows that are of different lengths and come and go: every row has a place of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RowCache:
    """Room for `longest` positions of `rows` rows in each layer. A new position overwrites what stood there, and nobody
    looks beyond the last one of a row, so nothing has to be wiped when a row begins anew."""

    def __init__(
        self, layers: int, rows: int, heads: int, longest: int, width: int, device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.room = torch.zeros(layers, 2, rows, heads, longest, width, device=device, dtype=dtype)
        self._all = torch.arange(rows, device=device)

    @property
    def rows(self) -> int:
        return self.room.shape[2]

    def grow(self, rows: int) -> None:
        """Room for so many rows; those that there are stay."""
        if rows > self.rows:
            shape = list(self.room.shape)
            shape[2] = rows - self.rows
            self.room = torch.cat((self.room, self.room.new_zeros(shape)), 2)
            self._all = torch.arange(rows, device=self.room.device)

    def write(
        self, layer: int, new: Sequence[Tensor], rows: Tensor | None, positions: Tensor, seen: int
    ) -> tuple[Tensor, Tensor]:
        """New keys and values (B, H, T, D) each at positions (B, T) of rows (B,), none for all rows in order -> those
        of these rows up to `seen` positions, (B, H, seen, D) each. Those of all rows are not copied."""
        keys, values = self.room[layer]
        places = self._all[:, None] if rows is None else rows[:, None]
        for part, found in zip((keys, values), new):
            part[places, :, positions] = found.transpose(1, 2).to(part.dtype)
        if rows is None:
            return keys[:, :, :seen], values[:, :, :seen]
        return keys[rows, :, :seen], values[rows, :, :seen]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (B,) alone."""
        self.room = self.room[:, :, rows]
        self._all = self._all[: len(rows)]

    def read(self, rows: Sequence[int], length: int) -> Tensor:
        """What the first `length` positions of rows hold: (layers, 2, B, H, length, D)."""
        return self.room[:, :, list(rows), :, :length].clone()

    def restore(self, rows: Sequence[int], held: Tensor) -> None:
        """Put back what `read` gave."""
        self.room[:, :, list(rows), :, : held.shape[4]] = held.to(self.room)
