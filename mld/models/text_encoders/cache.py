"""Text features by text, in memory or in safetensors files of a folder; made for millions of texts.

A folder belongs to one text encoder. A file holds up to `PER_FILE` texts: their keys (N, 2), all tokens one behind the
other (sum of S, Z), where each text's end (N,), sentences (N, Z'), and a checksum of each text's (N,). Every write is a
new file, complete when it appears, so several processes may fill one folder; what another process adds is seen when the
folder is opened again. The index beside them only makes opening fast: what it lacks is read from the files. Older
folders, one pair of tensors per text named by its key, are read as well.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mld.errors import CheckpointError, ConfigError, nearest
from mld.files import atomically, sweep, write_tensors
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.text_encoders.index import Index, as_tensor, key_of
from mld.reading import check_file

REMEMBERED, REMEMBERED_BYTES = 20_000, 2**30  # texts kept in memory when there is no folder, and their features
PER_FILE = 1024
INDEX = "texts.index"
INDEX_AFTER = 16  # files that are read one by one before the index is written again
RECENT = 100_000  # texts added by this process before they join the index
OPEN_FILES = 128
KEPT_TOKENS = ("float32", "float16", "none")
HALF_LIMIT = 65504.0
OLD_TOKENS, OLD_SENTENCE = ".tokens", ".sentence"


class FeatureCache:
    """folder None: only in memory, the latest `REMEMBERED` texts. tokens: how token features are kept, "float32",
    "float16" or "none" (sentences alone; tokens are then (0, Z)); what comes back is float32. grows: whether what is
    put goes to the folder; where it does not, the folder is read and new features stay in memory."""

    grows = True

    def __init__(self, folder: Path | None = None, tokens: str = "float32") -> None:
        if tokens not in KEPT_TOKENS:
            raise ConfigError(f"token features are not kept as '{tokens}'; {nearest(tokens, KEPT_TOKENS)}")
        self.folder, self.tokens = folder, tokens
        self._memory: OrderedDict[str, TextFeatures] = OrderedDict()
        self._memory_bytes = 0
        self._index = Index.empty()
        self._recent: dict[bytes, tuple[str, int]] = {}  # key -> file and row, of files that the index lacks
        self._opened: OrderedDict[str, _File] = OrderedDict()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            self._read_folder()

    def get(self, texts: Sequence[str]) -> dict[str, TextFeatures]:
        """What is known of the texts."""
        remembered = {text: self._memory[text] for text in texts if text in self._memory}
        if self.folder is None:
            return remembered
        places = self._places([text for text in dict.fromkeys(texts) if text not in remembered])
        by_file = sorted(places, key=lambda text: places[text][0])  # each file is opened once
        found = {text: self._open(places[text][0]).read(key_of(text), places[text][1]) for text in by_file}
        return remembered | {text: self.kept(found[text]) for text in places}

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that are not known, each once; without a folder as many of them as are remembered."""
        texts = list(dict.fromkeys(texts))
        if self.folder is None:
            return [text for text in texts[:REMEMBERED] if text not in self._memory]
        known = self._places(texts)
        return [text for text in texts if text not in known]

    def put(self, features: Mapping[str, TextFeatures]) -> None:
        """Keep features, in new files of at most `PER_FILE` texts."""
        kept = {text: self.kept(found) for text, found in features.items()}
        if self.folder is None or not self.grows:
            self._remember(kept)
            return
        entries = iter(kept.items())
        while part := dict(islice(entries, PER_FILE)):
            self._write(part)
        if len(self._recent) > RECENT:
            self._read_folder()

    def _remember(self, features: Mapping[str, TextFeatures]) -> None:
        for text in features.keys() & self._memory.keys():
            self._memory_bytes -= _bytes(self._memory.pop(text))
        self._memory.update(features)
        self._memory_bytes += sum(map(_bytes, features.values()))
        while len(self._memory) > REMEMBERED or (self._memory_bytes > REMEMBERED_BYTES and len(self._memory) > 1):
            self._memory_bytes -= _bytes(self._memory.popitem(last=False)[1])

    def kept(self, features: TextFeatures) -> TextFeatures:
        """The features as they come back, so that they are the same whether they were stored or just computed."""
        tokens, sentence = features
        if self.tokens == "none":
            return TextFeatures(tokens[:0].clone(), sentence)
        if self.tokens == "float16":
            return TextFeatures(tokens.clamp(-HALF_LIMIT, HALF_LIMIT).half().float(), sentence)
        return features

    def _write(self, part: Mapping[str, TextFeatures]) -> None:
        keys = [key_of(text) for text in part]
        tokens = torch.cat([found.tokens for found in part.values()])
        lengths = torch.tensor([len(found.tokens) for found in part.values()])
        tensors = {
            "keys": as_tensor(keys), "ends": lengths.cumsum(0),
            "tokens": tokens.half() if self.tokens == "float16" else tokens,
            "sentences": torch.stack([found.sentence for found in part.values()]),
        }  # fmt: skip
        ends = [0, *tensors["ends"].tolist()]
        tensors["sums"] = torch.tensor([
            _sum(key, tensors["tokens"][ends[row] : ends[row + 1]], tensors["sentences"][row])
            for row, key in enumerate(keys)
        ])  # fmt: skip
        name = f"{secrets.token_hex(8)}.safetensors"
        with atomically(self.folder / name) as new:
            write_tensors(new, tensors)
        self._recent |= {key: (name, row) for row, key in enumerate(keys)}

    def _read_folder(self) -> None:
        """The index, what it lacks, and the index written again where that was much."""
        index = Index.read(self.folder / INDEX)
        names = {file.name for file in self.folder.glob("*.safetensors") if not file.name.startswith(".")}
        index = index.without(set(index.files) - names)
        new = sorted(names - set(index.files))
        index = index.with_files([(name, _File(self.folder / name).keys()) for name in new])
        if len(new) >= INDEX_AFTER:
            with contextlib.suppress(PermissionError):  # a folder that is only read works without
                index.write(self.folder / INDEX)
        self._index, self._recent = index, {}

    def _places(self, texts: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Text -> file and row, of those that are known."""
        keys = [key_of(text) for text in texts]
        files, rows = self._index.find(as_tensor(keys))
        found = {}
        for text, key, file, row in zip(texts, keys, files.tolist(), rows.tolist()):
            if file >= 0:
                found[text] = (self._index.files[file], row)
            elif key in self._recent:
                found[text] = self._recent[key]
        return found

    def _open(self, name: str) -> _File:
        if name not in self._opened:
            self._opened[name] = _File(self.folder / name)
            if len(self._opened) > OPEN_FILES:
                self._opened.popitem(last=False)
        self._opened.move_to_end(name)
        return self._opened[name]


class _File:
    """A file of features, in a memory map. `CheckpointError` when it is damaged, or what is asked is not in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_file(path)
            self._stored: Any = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise self._damaged(error) from error
        self._names = list(self._stored.keys())
        self._packed = "keys" in self._names
        self._ends: list[int] | None = None
        self._sums: list[int] | None = None

    def keys(self) -> Tensor:
        """(N, 2) int64, in the order of rows."""
        if self._packed:
            keys = self._stored.get_tensor("keys").clone()
            if keys.ndim != 2 or keys.shape[1] != 2 or keys.dtype != torch.int64:
                raise self._damaged(f"keys {tuple(keys.shape)}")
            return keys
        old = [name.removesuffix(OLD_SENTENCE) for name in self._names if name.endswith(OLD_SENTENCE)]
        try:
            return as_tensor(bytes.fromhex(name) for name in old)
        except ValueError as error:
            raise self._damaged(error) from error

    def read(self, key: bytes, row: int) -> TextFeatures:
        """Features of the text with this key, which is in this row; copies, float32."""
        try:
            found, kept = self._find(key, row)
            if kept is not None and _sum(key, *found) != kept:
                raise self._damaged("other numbers than those that were kept")
            return TextFeatures(*(part.to(torch.float32, copy=True) for part in found))
        except (SafetensorError, IndexError, TypeError, RuntimeError) as error:
            raise self._damaged(error) from error

    def _find(self, key: bytes, row: int) -> tuple[tuple[Tensor, Tensor], int | None]:
        """Tokens and sentence as they lie there, and their checksum; older files have none."""
        if not self._packed:
            name = key.hex()
            tokens, sentence = (self._stored.get_tensor(name + end) for end in (OLD_TOKENS, OLD_SENTENCE))
            return (tokens, sentence), None
        if self._ends is None:
            self._ends = [0, *self._stored.get_tensor("ends").tolist()]
            self._sums = self._stored.get_tensor("sums").tolist() if "sums" in self._names else None
        tokens = self._stored.get_slice("tokens")[self._ends[row] : self._ends[row + 1]]
        sentence = self._stored.get_slice("sentences")[row : row + 1][0]
        return (tokens, sentence), None if self._sums is None else self._sums[row]

    def _damaged(self, reason: object) -> CheckpointError:
        return CheckpointError(f"{self.path}: damaged cache file ({reason}); delete it")


def _bytes(features: TextFeatures) -> int:
    return sum(part.numel() * part.element_size() for part in features)


def _sum(key: bytes, tokens: Tensor, sentence: Tensor) -> int:
    """CRC-32 over a text's key and numbers, in the precision in which they are kept."""
    found = crc32(key)
    for part in (tokens, sentence):
        found = crc32(part.contiguous().view(torch.uint8).numpy(), found) if part.numel() else found
    return found
