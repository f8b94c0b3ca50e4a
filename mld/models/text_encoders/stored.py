"""Features that somebody made beforehand, as an encoder: no network is needed for the texts that are there.

A folder of them is written by `python -m prepare.text --published`: `features.json` and files of the cache. It may name
the encoder that they are of, which is then opened for other texts, after a look whether it says the same of a text that
is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import CheckpointError, DataError, shown
from mld.files import atomically, parse_json
from mld.models.contracts.text_encoder import TextEncoder, TextFeatures
from mld.models.text_encoders.cache import FeatureCache
from mld.models.text_encoders.opening import STORED as ABOUT
from mld.models.text_encoders.opening import open_text_encoder
from mld.reading import read_text

FORMAT = 1
ALIKE = 0.99  # cosine between stored features and those of the encoder they are said to be of
EMPTY = ""


class StoredEncoder(TextEncoder, family="stored"):
    """source: the folder. identity: what it has to be, "" for any. A text without features is an error, but for
    captions of training that `prepare` looked at: they are counted, told, and taken for the empty text."""

    def __init__(
        self, source: str | Path, identity: str = "", *, dtype: str = "float32",
        widths: tuple[int | None, int | None] = (None, None),
    ) -> None:  # fmt: skip
        self.source = str(source)
        folder = Path(source).expanduser()
        try:
            about = parse_json(read_text(folder / ABOUT))
            form, known, width, tokens = (about[name] for name in ("format", "identity", "width", "tokens"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: no folder of text features; 'python -m prepare.text --published' writes "
                                  "one") from error  # fmt: skip
        if form != FORMAT:
            raise CheckpointError(f"{folder}: format {shown(form)} of features, this version reads {FORMAT}")
        if identity not in ("", known):
            raise CheckpointError(f"{folder}: other text features than the model was trained with ({known} instead of "
                                  f"{identity})")  # fmt: skip
        if widths[0] not in (None, width):
            raise CheckpointError(f"{folder}: features of {width} columns, {widths[0]} are named (text_encoder.width)")
        self.folder, self._about = folder, about
        self.cache = FeatureCache(folder, tokens)
        self._empty: set[str] = set()
        self._lenient = False  # whether any text may be taken for the empty one
        self._place: str | None = None
        self._other: TextEncoder | None = None

    @classmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder: Path | None = None) -> StoredEncoder:
        if missing := {"source", "identity"} - set(description):
            raise CheckpointError(f"{where}: a text encoder lacks {', '.join(sorted(missing))}")
        return cls(description["source"], description["identity"])

    @property
    def width(self) -> int:
        return int(self._about["width"])

    @property
    def sentence_width(self) -> int:
        return self.width

    @property
    def identity(self) -> str:
        return str(self._about["identity"])

    def unknown(self, texts: Sequence[str]) -> list[str]:
        return self.cache.missing(texts)

    def prepare(self, texts: Sequence[str], device: torch.device | str = "cpu") -> None:
        missing = self.unknown(texts)
        if not missing:
            return
        if self._about.get("encoder"):
            self.encode(missing, device)
            return
        self._empty |= set(missing)
        count = f"{len(missing):,} of {len(set(texts)):,} captions"
        self._say(f"  texts   {count} have no features in {self.folder} and are taken for the empty text; the first: "
                  f"{shown(missing[0])}")  # fmt: skip

    def encode_as_needed(self) -> None:
        if not self._about.get("encoder"):
            self._lenient = True
            self._say(f"  texts   captions that have no features in {self.folder} are taken for the empty text")

    def encode(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        asked = [EMPTY if text in self._empty else text for text in texts]
        if self._lenient:
            unknown = set(self.unknown(asked))
            asked = [EMPTY if text in unknown else text for text in asked]
        known = self.cache.get(asked)
        missing = [text for text in dict.fromkeys(asked) if text not in known]
        if missing:
            made = dict(zip(missing, self._encoder(missing[0]).encode(missing, self._place or device)))
            self.cache.put(made)
            known |= {text: self.cache.kept(found) for text, found in made.items()}
        return [known[text] for text in asked]

    def stay_on(self, device: str | None) -> None:
        self._place = device

    def release(self) -> None:
        self._other = None

    def _encoder(self, text: str) -> TextEncoder:
        """The encoder of the features, for texts that are not there."""
        if self._other is None:
            source = self._about.get("encoder")
            if not source:
                raise DataError(f"{self.folder}: no features of the text {shown(text)}; name the encoder that they are "
                                "of: 'python -m prepare.text --published ... --encoder FOLDER'")  # fmt: skip
            other = open_text_encoder(source)
            (stored,), (found,) = self.cache.get([EMPTY]).values(), other.encode([EMPTY])
            if found.tokens.shape != stored.tokens.shape or _alike(found.tokens, stored.tokens) < ALIKE:
                raise CheckpointError(f"text encoder '{source}' is not the one that the features in {self.folder} are "
                                      "of: it says something else of the empty text")  # fmt: skip
            self._other = other
        return self._other

    @staticmethod
    def _say(line: str) -> None:
        print(line, flush=True)


class FeatureFolder:
    """A folder of features that is being filled. empty: features (S, Z) of the empty text, which stands for none."""

    def __init__(self, folder: Path, empty: Tensor, tokens: str = "float16", encoder: str = "") -> None:
        self.cache, self.width = FeatureCache(folder, tokens), empty.shape[1]
        identity = hashlib.sha256(empty.float().contiguous().numpy().tobytes()).hexdigest()[:16]
        about = {"format": FORMAT, "identity": identity, "width": self.width, "tokens": tokens}
        if (folder / ABOUT).exists():
            known = parse_json(read_text(folder / ABOUT))
            if {**known, "encoder": None} != {**about, "encoder": None}:
                raise DataError(f"{folder}: holds other text features (or --tokens); name a new folder with --out")
            encoder = encoder or known.get("encoder") or ""
        with atomically(folder / ABOUT) as new:
            new.write_text(json.dumps({**about, **({"encoder": encoder} if encoder else {})}), encoding="utf-8")
        if self.cache.missing([EMPTY]):
            self.put({EMPTY: empty})

    def put(self, features: Mapping[str, Tensor]) -> None:
        """Keep features (S, Z) of texts; their means stand for the sentences."""
        self.cache.put({text: TextFeatures(rows.float(), rows.float().mean(0)) for text, rows in features.items()})


def _alike(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))
