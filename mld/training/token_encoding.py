"""Clips to tokens with a frozen tokenizer, in groups, in this process or in another that opens both for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mld.checkpoint import load_model
from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.errors import CheckpointError, DataError
from mld.example import CaptionedClip
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout
from mld.padding import padded, whole_units
from mld.training.token_plan import Stretch

BATCH = 64  # stretches encoded at once


@torch.no_grad()
def tokenize(tokenizer: MotionTokenizer, clips: Sequence[CaptionedClip]) -> dict[str, Tensor]:
    """What a store would keep of whole clips, on the CPU by clip name: codes (L,), latents (L, C) or posteriors
    (2, L, C). The clips are encoded as one batch."""
    if not clips:
        return {}
    return dict(zip([clip.name for clip in clips], encoded(tokenizer, [clip.features for clip in clips])))


@torch.no_grad()
def encoded(tokenizer: MotionTokenizer, features: Sequence[Tensor]) -> list[Tensor]:
    """The same of stretches (T, D) of raw features; frames beyond a whole number of tokens are left out."""
    unit = tokenizer.layout.frames_per_token
    rows = [whole_units(row, unit) for row in features]
    tokens, mask = tokenizer.stored(*padded(rows, tokenizer.device))
    counts = mask.sum(1).tolist()
    per_vector = tokens.ndim == 4  # (B, 2, L, C)
    return [row[:, :n].cpu() if per_vector else row[:n].cpu() for row, n in zip(tokens, counts)]


def tokenizer_in(folder: str) -> MotionTokenizer:
    """The tokenizer in a model folder, its own or that of a generator."""
    network = load_model(folder)
    if network.kind != "tokenizer":
        network = getattr(network, "tokenizer", None)
    if network is None:
        raise CheckpointError(f"{folder}: there is no motion tokenizer in this model; name a tokenizer or a generator")
    return network


@dataclass(frozen=True, eq=False)
class Group:
    """Clips that are read and encoded together: their numbers (n,), and the stretches of each."""

    numbers: np.ndarray
    stretches: Sequence[tuple[Stretch, ...]]


@dataclass(frozen=True, eq=False)
class GroupTokens:
    """What a store keeps of a group: rows (sum of L, ...) of its entries, one behind the other, and names of clips."""

    rows: np.ndarray
    names: list[str]


@dataclass(eq=False)
class Encoding:
    """The work of a process: group to tokens. tokenizer, source: what it works with here."""

    tokenizer: MotionTokenizer
    source: ClipSource

    def __call__(self, group: Group) -> GroupTokens:
        jobs: list[Tensor] = []
        names = []
        for number, wanted in zip(group.numbers.tolist(), group.stretches, strict=True):
            clip = self.source[number]
            if wanted and wanted[-1][1] > clip.num_frames:
                told = f"has {clip.num_frames} frames, not the {wanted[-1][1]} that its source tells"
                raise DataError(f"{self.source.name}: clip '{clip.name}' {told}; make the index of that source anew")
            names.append(clip.name)
            jobs += [clip.features[a:b] for a, b in wanted]
        rows: list[np.ndarray] = [None] * len(jobs)  # type: ignore[list-item]
        order = sorted(range(len(jobs)), key=lambda job: len(jobs[job]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            for job, tokens in zip(batch, encoded(self.tokenizer, [jobs[job] for job in batch])):
                rows[job] = packed(tokens, self.tokenizer.layout)
        return GroupTokens(np.concatenate(rows), names)


@dataclass(eq=False)
class Elsewhere:
    """The same in a process that opens the tokenizer of a model folder and the training clips when it begins."""

    folder: str
    data: DataConfig
    device: str = "cpu"
    _encoding: Encoding | None = field(default=None, init=False, repr=False)

    def __call__(self, group: Group) -> GroupTokens:
        if self._encoding is None:
            tokenizer = tokenizer_in(self.folder).to(self.device).eval()
            self._encoding = Encoding(tokenizer, build_source(self.data, "train"))
        return self._encoding(group)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_encoding": None}


def packed(tokens: Tensor, layout: TokenLayout) -> np.ndarray:
    """As a store keeps them, vector by vector: codes in the smallest type that holds them, latents in float32."""
    if layout.codebook_size:
        return tokens.numpy().astype(np.min_scalar_type(layout.codebook_size - 1))
    return (tokens.transpose(0, 1) if tokens.ndim == 3 else tokens).contiguous().numpy().astype(np.float32)
