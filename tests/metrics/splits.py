"""Small made-up splits and an evaluator of plain arithmetic, for tests of what surrounds evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from mld.evaluation.clips import ClipSet, usable
from mld.example import Caption, CaptionedClip

WIDTH, EMBEDDING = 263, 8


class Counting(nn.Module):
    """Embeds a motion as the mean of its rows and a caption by its letters; counts its calls and rows."""

    family, metric, representation = "counting", "euclidean", "humanml3d"
    embedding_dim, min_frames, max_frames = EMBEDDING, 8, 60
    config = SimpleNamespace(normalizer="none")

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, WIDTH * EMBEDDING).view(WIDTH, EMBEDDING).sin())
        self.motions: list[int] = []
        self.texts: list[int] = []

    def fingerprint(self) -> str:
        return "c0ffee"

    def embed_motion(self, features: Tensor, mask: Tensor, mode: str = "strict") -> Tensor:
        self.motions.append(len(features))
        return (features * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) @ self.weight

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        self.texts.append(len(captions))
        letters = torch.tensor([[float(caption.text.count(letter)) for letter in "abcdefgh"] for caption in captions])
        return letters / 4


def clips(count: int = 40, label: bool = False) -> list[CaptionedClip]:
    """Clips of 40 to 59 frames with two captions each."""
    draw = torch.Generator().manual_seed(count)
    made = []
    for i in range(count):
        rows = torch.randn(40 + i % 20, WIDTH, generator=draw)
        captions = (f"a person does move number {i}", f"someone acts {'abcdefgh'[i % 8] * 3} {i}")
        made.append(CaptionedClip(f"clip{i:03d}", rows, captions, 20.0, label=f"move {i % 10}" if label else ""))
    return made


def split(count: int = 40, label: bool = False) -> ClipSet:
    return usable(clips(count, label))
