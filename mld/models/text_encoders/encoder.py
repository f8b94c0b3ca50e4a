"""What all text encoders share: opened late, recognised by a hash, a cache in front, features free of the batch.

A family says how a folder is read (`read`) and what the transformer gives (`run`).
"""

from __future__ import annotations

import gc
import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mld.errors import CheckpointError, ConfigError, DataError, nearest
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import save_text_tokenizer
from mld.models.contracts.text_encoder import TextEncoder, TextFeatures
from mld.models.fingerprint import tensor_hash
from mld.models.text_encoders.cache import PER_FILE, FeatureCache
from mld.models.text_encoders.loading import quiet
from mld.padding import mask_of

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BATCH, BATCH_TOKENS = 64, 8192  # texts and tokens that run together at most
TRAVELLING = "text_encoder"  # the folder of an encoder that travels inside a model folder
HUB_FILES = ("*_Dense/*", "models_t5_umt5*.pth")  # besides weights of the usual names and *.json


class PretrainedTextEncoder(TextEncoder):
    """source: folder or hub id. identity: what the encoder has to be; "" takes it as it is. dtype: that of the weights
    while it runs, a part of the identity unless it is float32. folder: read it from here and not from `source`.

    longest: tokens, what is beyond is cut off. optional: beginnings of the names of weights that a folder
    may lack, as no feature depends on them or they are others' twins; they are no part of the identity."""

    longest: ClassVar[int] = 512
    beside: ClassVar[str] = ""  # what features hold beside states as wide as they, an end of the identity
    optional: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, source: str | Path, identity: str = "", *, dtype: str = "float32", folder: Path | None = None,
        widths: tuple[int | None, int | None] = (None, None),
    ) -> None:  # fmt: skip
        if dtype not in DTYPES:
            raise ConfigError(f"a text encoder does not run in '{dtype}'; {nearest(dtype, DTYPES)}")
        self.source, self.dtype, self.cache = str(source), dtype, FeatureCache()
        self._identity, self._folder, self._widths = identity, folder, widths
        self._read: tuple[nn.Module, Any] | None = None
        self._place: str | None = None

    @classmethod
    def restore(cls, description: Mapping[str, Any], where: str, folder: Path | None = None) -> PretrainedTextEncoder:
        if missing := {"source", "identity"} - set(description):
            raise CheckpointError(f"{where}: a text encoder lacks {', '.join(sorted(missing))}")
        own = folder / TRAVELLING if folder is not None else None
        widths = (description.get("width"), description.get("sentence_width"))
        return cls(
            description["source"], description["identity"], dtype=description.get("dtype", "float32"),
            folder=own if own is not None and own.is_dir() else None, widths=widths,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return super().describe() | ({"dtype": self.dtype} if self.dtype != "float32" else {})

    # what a family adds

    def locate(self) -> Path:
        """The folder to read; a hub id is downloaded."""
        if self._folder is not None:
            return self._folder
        try:
            return pretrained_folder(self.source, also=HUB_FILES)
        except CheckpointError as error:
            hint = f"; a model folder may hold it as '{TRAVELLING}/'" if self._identity else ""
            raise CheckpointError(f"text encoder: {error}{hint}") from error

    @abstractmethod
    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        """Transformer and text tokenizer of a folder; `CheckpointError` when it is not of this family."""

    @abstractmethod
    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, S) and mask (B, S), on the model's device -> last hidden states (B, S, Z), sentences (B, Z')."""

    def clean(self, text: str) -> str:
        """The text that is tokenized."""
        return text

    # opening

    def open(self) -> PretrainedTextEncoder:
        """Read it now, if it is not yet. `CheckpointError` when it is not the one that was described."""
        if self._read is None:
            made = self.read(self.locate())
            self._hold(*made)
        return self

    def release(self) -> None:
        """As of `TextEncoder`. Widths stay known."""
        if self._read is None:
            return
        self._widths = (self.width, self.sentence_width)
        self._read = None
        gc.collect()  # modules of the library hold each other
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def stay_on(self, device: str | None) -> None:
        self._place = device

    def _hold(self, model: nn.Module, tokenizer: Any) -> None:
        self._check_vocabulary(model, tokenizer)
        told, width = self._widths[0], self._columns(model)
        if told not in (None, width):
            raise CheckpointError(f"text encoder '{self.source}': its features have {width} columns, {told} are named")
        model = model.eval().requires_grad_(False)
        found = identity_of(model, tokenizer, self.optional, self.dtype) + self.beside
        if self._identity not in ("", found):
            raise CheckpointError(
                f"text encoder '{self.source}' is not the one that the model was trained with "
                f"(hash {found} instead of {self._identity})"
            )
        self._read, self._identity = (model, tokenizer), found

    def _check_vocabulary(self, model: nn.Module, tokenizer: Any) -> None:
        """`CheckpointError` for a text tokenizer with more pieces than the model, or that fails on words in none."""
        rows = model.config.vocab_size
        largest = max([*tokenizer.get_vocab().values(), *tokenizer.all_special_ids], default=0)
        if largest >= rows:
            raise CheckpointError(
                f"text encoder '{self.source}': its text tokenizer gives numbers up to {largest}, its network knows "
                f"{rows} pieces; they are not from one model"
            )
        try:
            tokenizer("a \U0010fffd \u16a0")
        except Exception as error:  # the library raises just this
            reason = " ".join(str(error).split())[:100]
            raise CheckpointError(f"text encoder '{self.source}': words that its tokenizer does not have stop it "
                                  f"({reason})") from error  # fmt: skip

    @property
    def model(self) -> nn.Module:
        return self.open()._read[0]

    @property
    def tokenizer(self) -> Any:
        return self.open()._read[1]

    @property
    def identity(self) -> str:
        return self._identity or self.open()._identity

    @property
    def width(self) -> int:
        return self._widths[0] or self._columns(self.model)

    def _columns(self, model: nn.Module) -> int:
        return int(model.config.hidden_size) * (2 if self.beside else 1)

    @property
    def sentence_width(self) -> int:
        return self._widths[1] or self.measure_sentence()

    def measure_sentence(self) -> int:
        """Z' of the opened encoder."""
        return int(self.model.config.hidden_size)

    @cached_property
    def max_tokens(self) -> int:
        """S at most: of the family, the text tokenizer and the positions that the model has."""
        positions = getattr(self.model.config, "max_position_embeddings", self.longest)
        return int(min(self.longest, self.tokenizer.model_max_length, positions))

    def save(self, folder: Path) -> None:
        """Write model and text tokenizer, to be read again."""
        with quiet():
            self.model.save_pretrained(str(folder))
        save_text_tokenizer(self.tokenizer, folder)

    # features

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (B, S) with start and end tokens, padded on the right, and their mask (B, S) bool."""
        cleaned = [self.clean(text) for text in texts]
        rows = self.tokenizer(cleaned, padding=False, truncation=True, max_length=self.max_tokens)["input_ids"]
        for text, row in zip(texts, rows):
            if not row:
                raise DataError(f"the text encoder '{self.source}' has no token for the text {text!r}")
        padding = self.tokenizer.pad_token_id or 0
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=padding)
        return ids, mask_of([len(row) for row in rows])

    @torch.no_grad()
    def hidden(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `run`, in float32, computed in the encoder's own precision whatever surrounds it."""
        with torch.autocast(ids.device.type, enabled=False):
            states, sentences = self.run(ids, mask)
        return states.float(), sentences.float()

    def compute(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        """Features without the cache. Texts of one length run together, so that no padding is involved."""
        device = self._place or device
        self.model.to(device)
        ids, mask = self.tokenize(texts)
        lengths = mask.sum(1)
        found: list[TextFeatures] = [None] * len(texts)  # type: ignore[list-item]
        for length in lengths.unique().tolist():
            at_once = max(1, min(BATCH, BATCH_TOKENS // length))
            for rows in (lengths == length).nonzero()[:, 0].split(at_once):
                chosen = ids[rows, :length].to(device)
                states, sentences = (
                    part.cpu() for part in self.hidden(chosen, torch.ones_like(chosen, dtype=torch.bool))
                )
                for row, tokens, sentence in zip(rows.tolist(), states, sentences):
                    found[row] = TextFeatures(tokens, sentence)
        return found

    def encode(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        """Features of each text, on the CPU; what the cache lacks is computed on `device` and kept."""
        known = self.cache.get(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            computed = dict(zip(missing, self.compute(missing, device)))
            self.cache.put(computed)
            known |= {text: self.cache.kept(found) for text, found in computed.items()}
        return [known[text] for text in texts]

    def keep_in(self, folder: str | Path, tokens: str = "float32") -> None:
        name = self.identity if tokens == "float32" else f"{self.identity}-{tokens}"
        self.cache = FeatureCache(Path(folder) / name, tokens)

    def unknown(self, texts: Sequence[str]) -> list[str]:
        return self.cache.missing(texts)

    def encode_as_needed(self) -> None:
        self.cache.grows = False

    def prepare(self, texts: Sequence[str], device: torch.device | str = "cpu") -> None:
        """Compute what the cache lacks of many texts, a file of it at a time, under a progress bar."""
        from tqdm import tqdm

        missing, step = self.cache.missing(texts), PER_FILE
        with tqdm(total=len(missing), desc="captions", unit="text", leave=False, disable=len(missing) <= step) as bar:
            for first in range(0, len(missing), step):
                part = missing[first : first + step]
                self.cache.put(dict(zip(part, self.compute(part, device))))
                bar.update(len(part))


def identity_of(model: nn.Module, tokenizer: Any, optional: tuple[str, ...], dtype: str = "float32") -> str:
    """16 hexadecimal digits over vocabulary and weights, and the precision unless it is float32."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
    weights = tensor_hash((name, value) for name, value in model.state_dict().items() if not name.startswith(optional))
    suffix = "" if dtype == "float32" else dtype
    return hashlib.sha256(vocabulary + weights.encode() + suffix.encode()).hexdigest()[:16]
