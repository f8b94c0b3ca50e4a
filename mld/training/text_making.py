"""Text features of many captions, made beforehand by many processes, into the cache that training reads.

Each text once, texts of similar length together, a file of the cache for each job; what is there already is not made
again, so an interrupted command goes on where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mld.data.clips import ClipSource
from mld.errors import CheckpointError, DataError, one_line
from mld.jobs import Failed, run_jobs
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.text_encoders.cache import PER_FILE, FeatureCache
from mld.models.text_encoders.opening import open_text_encoder
from mld.training.text_features import BYTES, captions_within, text_bytes


@dataclass(frozen=True)
class EncoderSettings:
    """As in `TextEncoderConfig`."""

    source: str
    family: str = "auto"
    dtype: str = "float32"
    width: int | None = None

    def open(self) -> TextEncoder:
        return open_text_encoder(self.source, self.family, dtype=self.dtype, width=self.width)


@dataclass(eq=False)
class TextWork:
    """The work of a process: texts to a file of the cache `folder`; the texts that have no features, and why.

    The encoder is opened when the first texts come."""

    settings: EncoderSettings
    folder: Path
    tokens: str
    device: str = "cpu"
    _opened: tuple[Any, FeatureCache] | None = field(default=None, init=False, repr=False)

    def __call__(self, texts: list[str]) -> list[str]:
        if self._opened is None:
            self._opened = self.settings.open(), FeatureCache(self.folder, self.tokens)
        encoder, cache = self._opened
        try:
            cache.put(dict(zip(texts, encoder.compute(texts, self.device))))
            return []
        except DataError:  # of one text, which must not take others along
            return self._one_by_one(encoder, cache, texts)

    def _one_by_one(self, encoder: Any, cache: FeatureCache, texts: list[str]) -> list[str]:
        made, wrong = {}, []
        for text in texts:
            try:
                made[text] = encoder.compute([text], self.device)[0]
            except DataError as error:
                wrong.append(one_line(str(error)))
        cache.put(made)
        return wrong

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_opened": None}


@dataclass(frozen=True)
class TextsMade:
    """texts: captions, each once. made: of them, now. left_out: why, of those without features. size: of the folder."""

    folder: Path
    texts: int
    made: int
    left_out: tuple[str, ...]
    size: int
    seconds: float

    def lines(self) -> list[str]:
        speed = f", {self.seconds / self.made * 1e3:,.1f} ms a text" if self.made else ""
        made = f"{self.made:,} made in {self.seconds:,.1f} s{speed}" if self.made else "all there already"
        lines = [f"{self.texts:,} texts, each once: {made}; {self.size / 1e6:,.1f} MB in {self.folder}"]
        return [*lines, *([f"{len(self.left_out):,} texts have no features"] if self.left_out else [])]


def make_texts(
    settings: EncoderSettings, sources: Sequence[ClipSource], out: Path, tokens: str, *, workers: int = 1,
    engine: str = "processes", device: str = "cpu",
) -> TextsMade:  # fmt: skip
    """Features of all captions of some sources in the folder of this encoder below `out`.

    `DataError` when the disk is too small."""
    began = time.monotonic()
    encoder = settings.open()
    encoder.keep_in(out, tokens)
    cache = getattr(encoder, "cache", None)
    if cache is None:
        raise CheckpointError(f"text encoder '{settings.source}': its features are not kept, so none can be made ahead")
    texts = list(dict.fromkeys(text for source in sources for text in captions_within(source, float("inf"), 0, 0)[0]))
    missing = sorted(encoder.unknown(texts), key=lambda text: (len(text.split()), len(text), text))
    _check_room(cache.folder, missing, encoder.width * BYTES[tokens], encoder.sentence_width * 4)
    jobs = [missing[start : start + PER_FILE] for start in range(0, len(missing), PER_FILE)]
    work = TextWork(settings, cache.folder.absolute(), tokens, device)
    failed: list[Failed] = []
    left_out: list[str] = []
    for _, wrong in run_jobs(
        work, jobs, engine=engine, workers=workers, title="texts to features", unit="text", size=len,
        name=lambda job: f"{len(job):,} texts from {job[0]!r} on", failed=failed,
    ):  # fmt: skip
        left_out += wrong
    left_out += [one.reason for one in failed for _ in jobs[one.number]]
    FeatureCache(cache.folder, tokens)  # writes the index, where there are many new files
    size = sum(file.stat().st_size for file in cache.folder.iterdir() if file.is_file())
    made = len(missing) - len(left_out)
    return TextsMade(cache.folder, len(texts), made, tuple(left_out), size, time.monotonic() - began)


def _check_room(folder: Path, texts: Sequence[str], per_token: float, per_text: float) -> None:
    size, free = sum(text_bytes(text, per_token, per_text) for text in texts), shutil.disk_usage(folder).free
    if size > 0.95 * free:
        raise DataError(
            f"features of {len(texts):,} texts take about {size / 1e9:,.1f} GB, {folder} has {free / 1e9:,.1f} GB; make"
            " room or name another --out; training encodes what is not there batch by batch (text_encoder.most_gb)"
        )
