"""Rows of ids as tensors: modalities, padding, placeholders and their parts of a clip, what counts in the text loss.

Ids of a batch are those of the vocabulary; `own_ids` number them by modality, as the tables of the backbone do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.models.backbones.layers import IGNORE, pad
from mld.models.families.motiongpt3.layout import Prompt, Row
from mld.models.families.motiongpt3.vocabulary import HolderVocabulary


@dataclass(frozen=True, eq=False)
class Batch:
    """ids, types (0 text, 1 motion; padding is text) and mask (True = real) are (B, T). inputs and outputs: places of
    the placeholders in the flattened batch, in order. chunks: which of the N * holders embeddings of `given` each input
    one gets. given (N, S, C), wanted (M, S, C): latents; frames (M,) of the wanted. prompts: True on prompts. own_ids
    (B, T): ids within the modality. told: places of the features of words `rows` (N, Z), in order."""

    ids: Tensor
    mask: Tensor
    types: Tensor
    own_ids: Tensor
    inputs: Tensor
    outputs: Tensor
    chunks: Tensor
    given: Tensor
    wanted: Tensor
    frames: Tensor
    prompts: Tensor
    told: Tensor
    rows: Tensor | None = None

    @property
    def computed(self) -> Tensor:
        """(B, T) modality of real tokens, -1 on padding, which a backbone need not compute."""
        return self.types.masked_fill(~self.mask, -1)


class Collator:
    """latent_shape: (S, C). holders, per given clip; chunk_major: their published order (spec 3.2)."""

    def __init__(
        self, vocabulary: HolderVocabulary, latent_shape: tuple[int, int], holders: int, chunk_major: bool
    ) -> None:
        self.vocabulary, self.latent_shape = vocabulary, latent_shape
        self.holders, self.chunk_major = holders, chunk_major

    def __call__(
        self, rows: Sequence[Row | Prompt], device: torch.device, length: int = 0, left: bool = False
    ) -> Batch:
        """The batch of rows, padded to the longest, or to `length`."""
        words = self.vocabulary
        ids, mask = pad([row.ids for row in rows], words.eos_id, device, left)
        if (missing := length - ids.shape[1]) > 0:
            sides = (missing, 0) if left else (0, missing)
            ids, mask = F.pad(ids, sides, value=words.eos_id), F.pad(mask, sides, value=False)
        types = (ids >= words.size).long()
        flat = ids.flatten()
        trained = [row for row in rows if isinstance(row, Row)]
        ends = torch.tensor([getattr(row, "prompt_length", len(row.ids)) for row in rows], device=device)
        return Batch(
            ids, mask, types, ids - words.size * types,
            inputs=(flat == words.input_id).nonzero()[:, 0],
            outputs=(flat == words.output_id).nonzero()[:, 0],
            chunks=torch.tensor(self._chunks(rows), dtype=torch.long, device=device),
            given=self._stacked([latent for row in rows for latent in row.given], device),
            wanted=self._stacked([latent for row in trained for latent in row.wanted], device),
            frames=torch.tensor([n for row in trained for n in row.frames], dtype=torch.float32, device=device),
            prompts=torch.arange(ids.shape[1], device=device) < ends[:, None],
            told=self._told(rows, mask),
            rows=torch.cat(read).to(device) if (read := [row.rows for row in rows if row.rows is not None]) else None,
        )  # fmt: skip

    def _told(self, rows: Sequence[Row | Prompt], mask: Tensor) -> Tensor:
        """Places of features of words, which are the first of a row."""
        counts = torch.tensor([0 if row.rows is None else len(row.rows) for row in rows], device=mask.device)
        return (mask & (mask.cumsum(1) <= counts[:, None])).flatten().nonzero()[:, 0]

    def _chunks(self, rows: Sequence[Row | Prompt]) -> list[int]:
        """Chunk h of clip c is embedding c * holders + h. chunk_major: a row takes chunk 0 of all its clips, then
        chunk 1 of all; else clip after clip."""
        found: list[int] = []
        first = 0
        for row in rows:
            clips, count = range(first, first + len(row.given)), range(self.holders)
            if self.chunk_major:
                found += [clip * self.holders + chunk for chunk in count for clip in clips]
            else:
                found += [clip * self.holders + chunk for clip in clips for chunk in count]
            first += len(row.given)
        return found

    def _stacked(self, latents: Sequence[Tensor], device: torch.device) -> Tensor:
        if not latents:
            return torch.zeros(0, *self.latent_shape, device=device)
        return torch.stack(list(latents)).to(device)

    def labels(self, batch: Batch, padding: bool, prompt: bool) -> Tensor:
        """Targets (B, T) of the text loss in ids of the modality: no placeholders and no end of a motion (spec 3.5).

        padding: padding counts; prompt: prompts count."""
        words = self.vocabulary
        ignored = (batch.ids == words.end_id) | (batch.ids == words.input_id) | (batch.ids == words.output_id)
        if not padding:
            ignored = ignored | ~batch.mask
        if not prompt:
            ignored = ignored | batch.prompts
        ignored = ignored.flatten().index_fill(0, batch.told, True).view_as(ignored)
        return batch.own_ids.masked_fill(ignored, IGNORE)
