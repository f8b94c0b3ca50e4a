"""Small text tokenizers trained on captions, for models built without a pretrained language model.

Byte-level BPE on lower-cased text: any input can be written. `train_text_tokenizer` follows T5's habits: blanks are
made single, pad is 0, `</s>` 1, `<unk>` 2, and the sentinels `<extra_id_99>` ... `<extra_id_0>` come last, in falling
order. `train_causal_tokenizer` follows those of GPT-2: blanks and line breaks are kept, one token ends and pads.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from mld.errors import CheckpointError, one_line
from mld.files import parse_json
from mld.models.backbones.stored_tokenizer import read_stored, understood
from mld.reading import check_folder, read_bytes

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
SENTINELS = 100
END_OF_TEXT = "<|endoftext|>"
KINDS = {"Lu", "Ll", "Lt", "Lo", "So"}  # of characters that bear meaning: letters and signs
STAGES = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")


def train_text_tokenizer(corpus: Iterable[str], vocabulary: int):
    """A `PreTrainedTokenizerFast` of at most `vocabulary` pieces (at least 260: every byte is one) plus sentinels."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(left=False),
            normalizers.Prepend(" "), normalizers.Replace(Regex(r"\s+"), " "),
        ]
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, _trainer(vocabulary, [PAD, EOS, UNK]))
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(SENTINELS))]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in sentinels])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNK, clean_up_tokenization_spaces=False
    )


def train_causal_tokenizer(corpus: Iterable[str], vocabulary: int):
    """A `PreTrainedTokenizerFast` of at most `vocabulary` pieces (at least 260); ` word` is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, _trainer(vocabulary, [END_OF_TEXT]))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT, clean_up_tokenization_spaces=False
    )


def _trainer(vocabulary: int, special: list[str]):
    from tokenizers import pre_tokenizers, trainers

    return trainers.BpeTrainer(
        vocab_size=max(vocabulary, 260), min_frequency=2, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip


def load_text_tokenizer(folder: str | Path):
    """The text tokenizer stored in a folder, with the pipeline of its own file; `CheckpointError` when there is none.

    The library's classes know the special tokens, but some of them (that of T5) put a pipeline of their own in place of
    the one in `tokenizer.json`. It loses the piece `▁` between a blank and an added token. A plain tokenizer is read
    without the library (`stored_tokenizer`). Code that the folder names as its own is never run, nor is anybody asked;
    a line on stderr says that it is there."""
    folder = Path(folder)
    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(f"{folder}: no text tokenizer here (tokenizer_config.json is missing)")
    if not (folder / "tokenizer.json").is_file() and list(folder.glob("*.model")):
        raise CheckpointError(
            f"{folder}: only a sentence-piece model, which does not tell the whole pipeline; add its tokenizer.json"
        )
    check_folder(folder)
    code = _names_code(folder)
    try:
        config = understood(folder)
        made = (None if config is None else read_stored(folder, config)) or _of_the_library(folder)
    except Exception as error:  # of a damaged tokenizer.json the library raises just this
        if code:
            advice = "save the tokenizer as tokenizer.json and leave out auto_map"
            raise CheckpointError(f"{folder}: names code of its own ({code}), which is never run; {advice}") from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(f"{folder}: the text tokenizer cannot be read ({reason})") from error
    if code:
        print(one_line(f"{folder}: names code of its own ({code}), which was not run"), file=sys.stderr)
    return made


def _of_the_library(folder: Path):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if (folder / "tokenizer.json").is_file():
        stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for stage in STAGES:
            setattr(made.backend_tokenizer, stage, getattr(stored, stage))
    return made


def letters_of(tokenizer) -> frozenset[str]:
    """The characters that the pieces of a text tokenizer are made of. Others are read as single bytes or as unknown:
    they were in no text, or in hardly any, that the pieces were learned from."""
    special = set(tokenizer.all_special_tokens)
    pieces = [piece for piece in tokenizer.get_vocab() if piece not in special]
    return frozenset("".join(tokenizer.convert_tokens_to_string([piece]) for piece in pieces)) - {"\ufffd"}


def unknown_words(text: str, known: frozenset[str]) -> tuple[str, int]:
    """The words of a text with letters or signs (emoji ...) that are not among the known ones, and how many percent of
    the letters of the text those are, at least 1. A letter counts as known with and without its accents; punctuation
    and digits are passed over."""
    unknown = {word: [letter for letter in _letters(word) if not known & {letter, letter.lower()}]
               for word in text.split()}  # fmt: skip
    words = [word for word, letters in unknown.items() if letters]
    if not words:
        return "", 0
    count = sum(len(unknown[word]) for word in text.split())
    return " ".join(words), max(1, round(100 * count / len(_letters(text))))


def _letters(text: str) -> list[str]:
    return [letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) in KINDS]


def save_text_tokenizer(tokenizer, folder: str | Path) -> None:
    """Write a text tokenizer into a folder. A fast one remembers how its last call cut and padded, and would write
    that, too; each call says it anew, so it is left out and the files are the same whatever was asked before."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(str(folder))


def _names_code(folder: Path) -> str:
    """The file of a tokenizer's folder that names code to be run; "" where none does."""
    for name in ("tokenizer_config.json", "config.json"):
        file = folder / name
        try:
            content = parse_json(read_bytes(file)) if file.is_file() else {}
        except ValueError as error:
            raise CheckpointError(f"{file}: the text tokenizer cannot be read ({error})") from error
        if isinstance(content, dict) and "auto_map" in content:
            return name
    return ""
