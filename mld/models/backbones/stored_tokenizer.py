"""A text tokenizer of a folder, by the package `tokenizers` alone.

The classes of transformers around it take longer to import than a motion takes to be made, and what a model asks of
them is little: ids of texts, texts of ids, the vocabulary, the special tokens. Whatever else is asked is answered by
the library, which is opened then; so are folders whose settings say more than is understood here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mld.files import parse_json
from mld.reading import read_text

CONFIG, PIPELINE, MAP = "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json"
SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
PLAIN = {"TokenizersBackend", "PreTrainedTokenizerFast"}  # classes that do what tokenizer.json says
CLASSES = {*PLAIN, "BertTokenizer", "BertTokenizerFast"}
# Of the other settings those that change no ids, or say again what tokenizer.json says.
REPEATED = {
    "backend", "clean_up_tokenization_spaces", "is_local", "local_files_only", "model_max_length", "tokenizer_class",
    "do_lower_case", "tokenize_chinese_chars", "strip_accents", "name_or_path", "do_basic_tokenize", "never_split",
    "special_tokens_map_file",
}  # fmt: skip
ENDLESS = int(1e30)  # length where none is said, as in the library


class StoredTokenizer:
    """backend: a `tokenizers.Tokenizer`. config: of tokenizer_config.json, as `understood` lets it pass."""

    def __init__(self, backend: Any, config: Mapping[str, Any]) -> None:
        self.backend_tokenizer, self._config = backend, dict(config)
        self._special = {name: config[name] for name in SPECIAL if config.get(name) is not None}
        self.model_max_length = int(min(config.get("model_max_length") or ENDLESS, ENDLESS))
        self._opened: Any = None
        backend.no_truncation()
        backend.no_padding()

    def __call__(
        self, text: str | Sequence[str], add_special_tokens: bool = True, truncation: bool = False,
        max_length: int | None = None, padding: bool = False, verbose: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        """{"input_ids"}: of a text, or of each of several. Not padded: the arguments are those of the library."""
        if padding:
            raise ValueError("ids are not padded here")
        self._cut_at((max_length or self.model_max_length) if truncation else None)
        texts, alone = [text] if isinstance(text, str) else list(text), isinstance(text, str)
        rows = self.backend_tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        ids = [row.ids for row in rows]
        return {"input_ids": ids[0] if alone else ids}

    def _cut_at(self, length: int | None) -> None:
        length = None if length is None or length >= ENDLESS else length
        now = self.backend_tokenizer.truncation
        if length is None and now is not None:
            self.backend_tokenizer.no_truncation()
        elif length is not None and (now is None or now["max_length"] != length):
            self.backend_tokenizer.enable_truncation(length)

    def decode(self, ids: Sequence[int] | int, skip_special_tokens: bool = False, **settings: Any) -> str:
        ids = [ids] if isinstance(ids, int) else list(ids)
        if settings.get("clean_up_tokenization_spaces", self._config.get("clean_up_tokenization_spaces")) is not False:
            return self.library().decode(ids, skip_special_tokens=skip_special_tokens, **settings)
        return self.backend_tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of each token, that of the unknown token for one that is not there."""
        if isinstance(tokens, str):
            found = self.backend_tokenizer.token_to_id(tokens)
            return self.unk_token_id if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        decoder = self.backend_tokenizer.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def add_tokens(self, tokens: Sequence[Any]) -> int:
        self._opened = None
        return self.backend_tokenizer.add_tokens(list(tokens))

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        return self.backend_tokenizer.get_added_tokens_decoder()

    @property
    def all_special_tokens(self) -> list[str]:
        return list(dict.fromkeys(self._special.values()))

    @property
    def all_special_ids(self) -> list[int]:
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def eos_token_id(self) -> int | None:
        return self._id("eos_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._id("pad_token")

    @property
    def unk_token_id(self) -> int | None:
        return self._id("unk_token")

    def _id(self, name: str) -> int | None:
        token = self._special.get(name)
        return None if token is None else self.backend_tokenizer.token_to_id(token)

    def library(self) -> Any:
        """The same tokenizer as an object of transformers, with all that such an object can do."""
        if self._opened is None:
            from transformers import PreTrainedTokenizerFast

            self._cut_at(None)
            self._opened = PreTrainedTokenizerFast(
                tokenizer_object=self.backend_tokenizer, model_max_length=self.model_max_length,
                clean_up_tokenization_spaces=bool(self._config.get("clean_up_tokenization_spaces", False)),
                **self._special,
            )  # fmt: skip
        return self._opened

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.library(), name)


def understood(folder: Path) -> dict[str, Any] | None:
    """The settings of a folder's text tokenizer, where they are such that `StoredTokenizer` does as the library does;
    None where the library has to be asked. `ValueError`, `OSError` for what is no file of JSON."""
    if not (folder / PIPELINE).is_file():
        return None
    config = parse_json(read_text(folder / CONFIG))
    if not isinstance(config, dict) or config.get("tokenizer_class") not in CLASSES:
        return None
    if set(config) - REPEATED - set(SPECIAL) or (folder / "added_tokens.json").is_file():
        return None
    again = parse_json(read_text(folder / MAP)) if (folder / MAP).is_file() else {}
    if not isinstance(again, dict) or any(config.get(name) != token for name, token in again.items()):
        return None
    length = config.get("model_max_length", ENDLESS)
    if isinstance(length, bool) or not isinstance(length, (int, float)) or length < 1:
        return None
    tokens = [config.get(name) for name in SPECIAL]
    return config if all(token is None or isinstance(token, str) for token in tokens) else None


def read_stored(folder: Path, config: Mapping[str, Any]) -> StoredTokenizer | None:
    """The tokenizer of a folder; None where its file lacks a special token that the settings name, which the library
    would add. What the package raises for a damaged file is just `Exception`."""
    from tokenizers import Tokenizer

    made = StoredTokenizer(Tokenizer.from_file(str(folder / PIPELINE)), config)
    known = {str(token.content) for token in made.added_tokens_decoder.values() if token.special}
    return made if known >= set(made.all_special_tokens) else None
