"""Text encoders and language models in folders: whatever is wrong with their weights is one line, and nothing goes on
with random or unusable numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mld.errors import CheckpointError, DataError
from mld.metrics.captions.bertscore import BertScorer
from mld.models.backbones.pretrained import read_pretrained
from mld.models.text_encoders.opening import open_text_encoder
from tests.models.text_encoding import write_clip, write_sentence_t5, write_t5, write_text_encoder, write_umt5

LATER = {"t5": write_t5, "clip": write_clip, "sentence_t5": write_sentence_t5, "umt5": write_umt5}
NOT_WEIGHTS = {
    "a web page": b"<!DOCTYPE html>\n<html><head></head><body>Sign in</body></html>\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n",
    "not a": b"",
    "damaged or not a": b"\x40\0\0\0\0\0\0\0{",
}
Weights = dict[str, torch.Tensor]
KEY = {"bert": "transformer.layer.0.attention.q_lin.weight", "clip": "text_model.encoder.layers.0.mlp.fc1.weight"}


@pytest.fixture(params=["bert", *LATER])
def folder(request, tmp_path: Path) -> Path:
    place = tmp_path / request.param
    if request.param == "bert":
        write_text_encoder(place)
    else:
        place.mkdir()
        LATER[request.param](place)
    return place


def _changed(folder: Path, change: Callable[[Weights, str], object]) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    key = KEY.get(folder.name, "encoder.block.0.layer.0.SelfAttention.q.weight")
    assert key in weights
    change(weights, key)
    save_file({name: value.contiguous() for name, value in weights.items()}, file, metadata={"format": "pt"})


def _refused(folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        open_text_encoder(str(folder), "auto").open()
    assert str(folder) in str(error.value) and len(str(error.value)) <= 300 and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_no_file_of_weights(folder: Path, name: str, kind: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(NOT_WEIGHTS[kind])
    _refused(folder, "not a" if kind == "not a" else kind)
    if folder.name in ("bert", "t5"):
        with pytest.raises(CheckpointError, match=name):
            read_pretrained(folder)


def test_nan(folder: Path) -> None:
    _changed(folder, lambda weights, key: weights[key].view(-1)[:1].fill_(torch.nan))
    _refused(folder, "holds NaN or infinite numbers")


def test_shapes_and_missing_weights_are_named(folder: Path) -> None:
    whole = shutil.copytree(folder, folder.parent / "whole" / folder.name)
    _changed(folder, lambda weights, key: weights.update({key: weights[key][:-1].clone()}))
    _refused(folder, r"is of shape \(\d+, \d+\), its config wants \(\d+, \d+\)")
    _changed(whole, lambda weights, key: weights.pop(key))
    _refused(whole, "lacks 1 weights, ")


def test_weights_of_a_wrapped_model_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = {f"module.{name}": value for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    _refused(folder, "lacks .* weights, .* first; the file has module")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_quantised_weights(folder: Path, name: str) -> None:
    weights = {key: value.to(torch.int8) for key, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    write = save_file if name.endswith("safetensors") else torch.save
    write(weights, folder / name)
    _refused(folder, "quantised or complex weights cannot be read")


def test_whole_files_open_in_both_layouts(folder: Path) -> None:
    first = open_text_encoder(str(folder), "auto").encode(["a person walks."])[0]
    if folder.name in ("bert", "t5"):
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    again = open_text_encoder(str(folder), "auto").encode(["a person walks."])[0]
    assert torch.equal(first.sentence, again.sentence)


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_configs_and_scorers_as_well(tmp_path: Path, kind: str) -> None:
    write_text_encoder(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").write_bytes(NOT_WEIGHTS[kind])
    with pytest.raises(DataError, match="BERTScore: .*cannot be loaded"):
        BertScorer(tmp_path / "bert", layer=1)(["a person walks."], [["a person walks."]])
    (tmp_path / "bert" / "config.json").write_bytes(NOT_WEIGHTS[kind])
    with pytest.raises(CheckpointError, match=r"config.json: not readable as JSON"):
        read_pretrained(tmp_path / "bert")
