"""Text features by text, in memory or in safetensors files of a folder.

A folder belongs to one text encoder. Every write is a new file, complete when it appears, so several processes may
fill one folder; what another process adds is seen when the folder is opened again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mld.errors import CheckpointError
from mld.files import atomically

REMEMBERED = 20_000  # texts kept in memory when there is no folder
TOKENS, SENTENCE = ".tokens", ".sentence"


class TextFeatures(NamedTuple):
    """tokens (S, D): last hidden states, start and end tokens included. sentence (D,): their mean, of length 1."""

    tokens: Tensor
    sentence: Tensor


class FeatureCache:
    """folder None: only in memory, the latest `REMEMBERED` texts."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._memory: OrderedDict[str, TextFeatures] = OrderedDict()
        self._files: dict[str, Any] = {}  # key -> open file
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.glob("*.safetensors")):
                self._open(file)

    def get(self, texts: Sequence[str]) -> dict[str, TextFeatures]:
        """What is known of the texts."""
        if self.folder is None:
            return {text: self._memory[text] for text in texts if text in self._memory}
        keys = {text: _key(text) for text in dict.fromkeys(texts)}
        return {text: self._read(key) for text, key in keys.items() if key in self._files}

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that are not known, each once; without a folder as many of them as are remembered."""
        texts = list(dict.fromkeys(texts))
        if self.folder is None:
            return [text for text in texts[:REMEMBERED] if text not in self._memory]
        return [text for text in texts if _key(text) not in self._files]

    def put(self, features: Mapping[str, TextFeatures]) -> None:
        """Keep features, all in one new file."""
        if self.folder is None:
            self._memory.update(features)
            while len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
            return
        tensors = {}
        for text, found in features.items():
            tensors[_key(text) + TOKENS] = found.tokens.contiguous()
            tensors[_key(text) + SENTENCE] = found.sentence.contiguous()
        final = self.folder / f"{secrets.token_hex(8)}.safetensors"
        with atomically(final) as new:
            save_file(tensors, new)
        self._open(final)

    def _open(self, file: Path) -> None:
        try:
            opened = safe_open(file, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: damaged cache file ({error}); delete it") from error
        names = list(opened.keys())
        self._files.update({name.removesuffix(SENTENCE): opened for name in names if name.endswith(SENTENCE)})

    def _read(self, key: str) -> TextFeatures:
        file = self._files[key]
        return TextFeatures(file.get_tensor(key + TOKENS), file.get_tensor(key + SENTENCE))


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
