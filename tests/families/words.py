"""Words as a vector, without a vocabulary: a bag of hashed words."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor, nn

from mld.example import Segment, Text

BUCKETS = 64


class BagOfWords(nn.Module):
    """Prompts -> (B, Z): the mean of the embeddings of their words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(BUCKETS, width, mode="mean")

    def forward(self, prompts: Sequence[Sequence[Segment]]) -> Tensor:
        rows = [
            [crc32(word.encode()) % BUCKETS for part in prompt if isinstance(part, Text) for word in part.text.split()]
            for prompt in prompts
        ]
        ids = torch.tensor([i for row in rows for i in row], dtype=torch.long, device=self.table.weight.device)
        ends = torch.tensor([len(row) for row in rows]).cumsum(0)
        offsets = torch.cat((torch.zeros(1, dtype=torch.long), ends[:-1])).to(ids.device)
        return self.table(ids, offsets)
