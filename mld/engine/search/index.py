"""Search in a folder of motions: by text, or by another motion.

Embeddings are kept in a cache folder, never beside the user's files, under the fingerprint of the evaluator and the
content of the file. So a file that was renamed is not embedded again, one that was changed is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mld.engine.search.similarity import Similarity, Windows
from mld.errors import DataError, MldError, MotionFormatError
from mld.files import atomically, write_tensors
from mld.motion.formats import files_in, readable_suffixes
from mld.motion.motion import Motion
from mld.reading import read_bytes, read_tensors


@dataclass(frozen=True)
class Hit:
    """A motion file, how near it is to the query (larger is nearer) and which of its seconds are."""

    path: Path
    similarity: float
    start: float
    stop: float


class MotionIndex:
    """files: motion files. cache: folder for embeddings, none: they are made anew. fps: of files that do not say.

    What cannot be embedded is in `problems`, path and reason; `DataError` if nothing is left."""

    def __init__(
        self, similarity: Similarity, files: Sequence[Path], cache: Path | None = None, fps: float | None = None,
        progress: bool = False,
    ) -> None:  # fmt: skip
        from tqdm import tqdm

        self.similarity, self.fps = similarity, fps
        self.folder = None if cache is None else cache / similarity.evaluator.fingerprint()
        self.problems: list[tuple[Path, str]] = []
        self.made = 0
        self._windows: dict[Path, Windows] = {}
        for path in tqdm(files, "embedding", unit="motion", leave=False, disable=not progress):
            try:
                self._windows[path] = self._embedded(path)
            except MldError as error:
                self.problems.append((path, str(error)))
        if not self._windows:
            why = f" ({self.problems[0][1]})" if self.problems else ""
            raise DataError(f"there is no motion to search in{why}")

    def __len__(self) -> int:
        return len(self._windows)

    def search(self, query: Tensor, k: int) -> list[Hit]:
        """The k nearest motions, nearest first. query: embeddings (Q, E); the best of them counts."""
        hits = []
        for path, found in self._windows.items():
            nearness = self.similarity.compare(query, found.embeddings).amax(0)
            best = int(nearness.argmax())
            start, stop = found.spans[best].tolist()
            hits.append(Hit(path, float(nearness[best]), start, stop))
        return sorted(hits, key=lambda hit: -hit.similarity)[:k]

    def _embedded(self, path: Path) -> Windows:
        if self.folder is None:
            return self._make(path)
        try:
            content = hashlib.sha256(read_bytes(path))
        except OSError as error:
            raise MotionFormatError(f"{path}: cannot be read ({error})") from error
        content.update(f"{path.suffix}{self.fps}".encode())
        file = self.folder / f"{content.hexdigest()[:32]}.safetensors"
        known = _read(file, self.similarity.evaluator.embedding_dim)
        if known is not None:
            return known
        found = self._make(path)
        _write(file, found)
        return found

    def _make(self, path: Path) -> Windows:
        self.made += 1
        return self.similarity.embed(Motion.load(path, self.fps))


def motion_files(folder: Path) -> list[Path]:
    """All motion files below a folder, in order of their names; `DataError` if there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of motions")
    found = files_in(folder, below=True)
    if not found:
        raise DataError(f"{folder}: no motion in it (files that end in {', '.join(readable_suffixes())})")
    return found


def _read(file: Path, width: int) -> Windows | None:
    """What was kept; None where there is nothing, or nothing usable."""
    try:
        rows = read_tensors(file)
        found = Windows(rows["embeddings"], rows["spans"])
    except (OSError, KeyError):
        return None
    fits = found.embeddings.ndim == 2 and found.embeddings.shape[1] == width and len(found.spans) > 0
    return found if fits and found.spans.shape == (len(found.embeddings), 2) else None


def _write(file: Path, found: Windows) -> None:
    with atomically(file) as new:
        write_tensors(new, {"embeddings": found.embeddings.contiguous(), "spans": found.spans.contiguous()})
