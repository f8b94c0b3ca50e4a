"""How well generated captions agree with the reference captions: exact matches, BLEU-1..4, share of unique captions.

Protocol: text in lower case, punctuation as spaces, split at white space; BLEU over the corpus with the closest
reference length and no smoothing (torchmetrics). Embedding-based caption metrics belong to the evaluators.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

PROTOCOL = "captions/lower-nopunct/bleu-closest"
_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


def normalise(caption: str) -> str:
    """Lower case, punctuation to spaces, single spaces."""
    return " ".join(caption.translate(_SPACES).lower().split())


class CaptionScores(Metric):
    """exact, BLEU_1..BLEU_4 and unique, all shares between 0 and 1.

    exact: the caption equals one of its references. unique: different captions / captions, for the answers
    (`unique`) and for the first references (`unique_reference`), so that a model that always says the same shows."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.text import BLEUScore

        self.bleu = torch.nn.ModuleList(BLEUScore(n_gram=order) for order in range(1, 5))
        self.add_state("exact", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("said", default=[], dist_reduce_fx="cat")
        self.add_state("expected", default=[], dist_reduce_fx="cat")

    def update(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """captions: one answer per clip. references: the clip's captions, at least one each."""
        captions = [normalise(caption) for caption in captions]
        references = [[normalise(reference) for reference in several] for several in references]
        for order in self.bleu:
            order.update(captions, references)
        self.exact += sum(caption in several for caption, several in zip(captions, references))
        self.said.append(_hashes(captions))
        self.expected.append(_hashes(several[0] for several in references))

    def compute(self) -> dict[str, Tensor]:
        said, expected = torch.cat(self.said), torch.cat(self.expected)
        scores = {"exact": self.exact / len(said)}
        scores |= {f"BLEU_{order}": score.compute().double() for order, score in enumerate(self.bleu, start=1)}
        scores["unique"] = torch.tensor(len(said.unique()) / len(said), dtype=torch.float64)
        scores["unique_reference"] = torch.tensor(len(expected.unique()) / len(expected), dtype=torch.float64)
        return scores

    def reset(self) -> None:
        super().reset()
        for order in self.bleu:
            order.reset()


def _hashes(captions) -> Tensor:
    return torch.tensor([zlib.crc32(caption.encode()) for caption in captions], dtype=torch.int64)
