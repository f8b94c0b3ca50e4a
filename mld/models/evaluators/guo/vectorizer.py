"""Words and parts of speech as numbers for the Guo evaluator (evaluation spec 1.5).

Word vectors come in three files: `our_vab_data.npy` (V, W), `our_vab_words.pkl` (list) and `our_vab_idx.pkl` (dict).
The pickles are read by a reader that knows lists, dicts, strings and numbers only, so nothing in them can run.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from mld.errors import CheckpointError, DataError
from mld.files import write_array
from mld.reading import read_array

VECTORS, WORDS, INDEX = "our_vab_data.npy", "our_vab_words.pkl", "our_vab_idx.pkl"
START, END, UNKNOWN = "sos", "eos", "unk"
OTHER = "OTHER"
PARTS = ("VERB", "NOUN", "DET", "ADP", "NUM", "AUX", "PRON", "ADJ", "ADV", "Loc_VIP", "Body_VIP", "Obj_VIP", "Act_VIP",
         "Desc_VIP", OTHER)  # fmt: skip


class WordBatch(NamedTuple):
    """ids (B, L) of word vectors, pos (B, L) positions in `PARTS`, lengths (B,) with start and end counted."""

    ids: Tensor
    pos: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class WordVectors:
    """words: V different strings, `sos`, `eos` and `unk` among them. vectors: (V, W) float32."""

    words: tuple[str, ...]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        missing = {START, END, UNKNOWN} - set(self.words)
        if missing:
            raise CheckpointError(f"word vectors lack the words {', '.join(sorted(missing))}")
        if self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise CheckpointError(f"word vectors have the shape {self.vectors.shape} for {len(self.words)} words")

    @cached_property
    def index(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @classmethod
    def load(cls, folder: str | Path) -> WordVectors:
        """The three files of a folder. `CheckpointError` when one is missing, damaged or at odds with the others."""
        folder = Path(folder)
        words, index = _plain_pickle(folder / WORDS), _plain_pickle(folder / INDEX)
        try:
            vectors = read_array(folder / VECTORS)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / VECTORS}: missing or not an array of word vectors") from error
        if not isinstance(words, list) or not isinstance(index, dict):
            raise CheckpointError(f"{folder}: {WORDS} has to hold a list and {INDEX} a dictionary")
        rows = np.array([index.get(word, -1) for word in words])
        if len(vectors) != len(words) or sorted(rows) != list(range(len(words))):
            raise CheckpointError(f"{folder}: {WORDS}, {INDEX} and {VECTORS} do not speak of the same words")
        return cls(tuple(words), vectors[rows].astype(np.float32))

    def save(self, folder: str | Path) -> None:
        """Write the three files, vectors float32."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_array(folder / VECTORS, self.vectors)
        (folder / WORDS).write_bytes(pickle.dumps(list(self.words), protocol=2))
        (folder / INDEX).write_bytes(pickle.dumps(self.index, protocol=2))

    def vectorize(self, captions: Sequence[Sequence[str]], max_words: int = 20) -> WordBatch:
        """`word/POS` items of each caption, start and end added, to `max_words` + 2 slots; later words are dropped.

        Unknown words and the slots behind the end become `unk`/OTHER; a word of a VIP list takes that class."""
        slots = max_words + 2
        ids = torch.full((len(captions), slots), self.index[UNKNOWN])
        pos = torch.full((len(captions), slots), PARTS.index(OTHER))
        lengths = torch.zeros(len(captions), dtype=torch.long)
        for row, tokens in enumerate(captions):
            found = [(START, OTHER), *map(_split, tokens[:max_words]), (END, OTHER)]
            pairs = [self._numbers(word, part) for word, part in found]
            ids[row, : len(pairs)] = torch.tensor([number for number, _ in pairs])
            pos[row, : len(pairs)] = torch.tensor([part for _, part in pairs])
            lengths[row] = len(pairs)
        return WordBatch(ids, pos, lengths)

    def _numbers(self, word: str, part: str) -> tuple[int, int]:
        if word not in self.index:
            return self.index[UNKNOWN], PARTS.index(OTHER)
        part = vip_words().get(word, part)
        return self.index[word], PARTS.index(part if part in PARTS else OTHER)


@lru_cache
def vip_words() -> dict[str, str]:
    """Word -> its VIP class."""
    text = resources.files(__package__).joinpath("vip_words.yaml").read_text(encoding="utf-8")
    return {word: part for part, words in yaml.safe_load(text).items() for word in words.split()}


def _split(token: str) -> tuple[str, str]:
    word, slash, part = token.rpartition("/")
    if not slash or not word:
        raise DataError(f"caption token '{token}' is not of the form word/POS")
    return word, part


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _plain_pickle(file: Path) -> Any:
    """Content of a pickle of plain values; `CheckpointError` for anything else, which is never run."""
    if not file.is_file():
        raise CheckpointError(f"{file}: missing; a folder of word vectors has {VECTORS}, {WORDS} and {INDEX}")
    try:
        with open(file, "rb") as stream:
            return _PlainUnpickler(stream).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, UnicodeDecodeError,
            AttributeError, TypeError, OverflowError) as error:  # fmt: skip
        raise CheckpointError(f"{file}: refused, not a pickle of plain words and numbers ({error})") from error
