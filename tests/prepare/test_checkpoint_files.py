"""Checkpoints as they lie about: wrapped in other names, with numbers nobody can use, or no checkpoints at all."""

from __future__ import annotations

import io
import pickle
import tarfile

import pytest
import torch
from safetensors.torch import save_file

from commands.common import run
from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError
from mld.models.conversion.state_dict import read_parts, read_state_dict
from mld.models.families.motiongpt.convert import import_motiongpt
from prepare.convert import main
from tests.models.tiny import tiny_motiongpt, tiny_vqvae
from tests.prepare.test_convert import published_vae, stats  # noqa: F401

A = {"vae.encoder.w": torch.arange(3.0), "vae.decoder.b": torch.ones(2)}
BESIDE = {"metrics.m2t.w": torch.full((2,), torch.nan), "_losses.total": torch.tensor(0)}


def renamed(before: str, inside: str = "") -> dict:
    return {before + key.replace("vae.", f"vae.{inside}"): value for key, value in A.items()}


WRAPPED = {
    "plain": A,
    "state_dict": {"state_dict": A, "epoch": 3},
    "nested": {"state_dict": {"state_dict": A}},
    "model": {"model": A, "optimizer": {"state": {}}},
    "net": {"net": A},
    "module": {"module": A},
    "model_state_dict": {"epoch": 1, "model_state_dict": A},
    "model in state_dict": {"state_dict": {"model": A}},
    "module.": {"state_dict": renamed("module.") | BESIDE},
    "_orig_mod.": {"state_dict": renamed("_orig_mod.")},
    "model.": {"state_dict": renamed("model.") | BESIDE},
    "net.": renamed("net."),
    "model._orig_mod.module.": renamed("model._orig_mod.module."),
    "module.model.": renamed("module.model."),
    "inside": renamed("", "_orig_mod."),
    "inside, data parallel": {"model": renamed("model.", "module.")},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_are_opened(tmp_path, name: str) -> None:
    torch.save(WRAPPED[name], tmp_path / "a.ckpt")
    notes: list[str] = []
    found = read_state_dict(tmp_path / "a.ckpt", notes)
    assert {key for key in found if not key.startswith(("metrics", "_losses"))} == set(A)
    assert all(torch.equal(found[key], value) for key, value in A.items())
    assert bool(notes) == (name.endswith(".") or name.startswith("inside"))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod."])
def test_an_import_says_what_names_lost(tmp_path, stats, prefix: str, capsys) -> None:  # noqa: F811
    model = tiny_vqvae(down_t=3, depth=2)
    weights = {prefix + key: value for key, value in published_vae(model).items()}
    torch.save({"state_dict": weights}, tmp_path / "a.ckpt")
    arguments = ["motiongpt", str(tmp_path / "a.ckpt"), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]
    assert run(main, arguments) == 0
    assert f"names lose {prefix}" in capsys.readouterr().out
    assert torch.equal(load_model(tmp_path / "out").quantizer.codebook, model.quantizer.codebook)


def test_ambiguous_names_and_other_content(tmp_path) -> None:
    torch.save({"module.a": torch.ones(2), "a": torch.zeros(2)}, tmp_path / "two.ckpt")
    torch.save({"epoch": 3, "lr": 0.1, "weights": {"a": torch.ones(2)}}, tmp_path / "other.ckpt")
    torch.save([torch.ones(2)], tmp_path / "list.ckpt")
    for name, message in (("two", "not unique"), ("other", "it has epoch, lr, weights"), ("list", "it is a list")):
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(tmp_path / f"{name}.ckpt")
    torch.save({"epoch": 3}, tmp_path / "parts.tar")
    with pytest.raises(CheckpointError, match="no named state dicts; it has epoch"):
        read_parts(tmp_path / "parts.tar")


UNUSABLE = {
    "NaN": torch.tensor([1.0, torch.nan]),
    "infinite": torch.tensor([1.0, -torch.inf]),
    "complex64": torch.ones(2, dtype=torch.complex64),
    "half of NaN": torch.tensor([1.0, torch.nan]).half(),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_numbers_that_are_none(tmp_path, kind: str) -> None:
    torch.save({"a": torch.ones(2), "b": UNUSABLE[kind]}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=f"a.ckpt: b (holds|is) .*{kind.split(' ')[-1]}"):
        read_state_dict(tmp_path / "a.ckpt")
    torch.save({"part": {"b": UNUSABLE[kind]}}, tmp_path / "parts.tar")
    with pytest.raises(CheckpointError, match=r"part\.b "):
        read_parts(tmp_path / "parts.tar")


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, torch.int8, torch.complex64])
def test_imports_refuse_them(tmp_path, stats, dry: list[str], value, capsys) -> None:  # noqa: F811
    weights = published_vae(tiny_vqvae())
    bias = weights["vae.decoder.model.6.bias"]
    weights["vae.decoder.model.6.bias"] = bias.to(value) if isinstance(value, torch.dtype) else bias * value
    torch.save({"state_dict": weights}, tmp_path / "a.ckpt")
    arguments = ["motiongpt", str(tmp_path / "a.ckpt"), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]
    assert run(main, [*arguments, *dry]) == 2
    assert "decoder.model.6.bias" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("value, message", [
    (torch.nan, "NaN"), (torch.int8, "int8 instead of float32"), (torch.complex64, "complex64"),
    (torch.float8_e4m3fn, "quantised"),
])  # fmt: skip
def test_model_folders_refuse_them(tmp_path, value, message: str) -> None:
    from safetensors.torch import load_file

    save_model(tiny_motiongpt(), tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    name = "lm.lm_head.weight"
    weights[name] = weights[name].to(value) if isinstance(value, torch.dtype) else weights[name].fill_(value)
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{name} .*{message}"):
        load_model(tmp_path / "m")


def test_half_and_double_precision_are_read(tmp_path, stats) -> None:  # noqa: F811
    weights = published_vae(tiny_vqvae())
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        torch.save({key: value.to(dtype) for key, value in weights.items()}, tmp_path / "a.ckpt")
        network, _ = import_motiongpt(tmp_path / "a.ckpt", stats, as_published=True)
        codebook = weights["vae.quantizer.codebook"].to(dtype).float()
        assert torch.equal(network.quantizer.codebook, codebook)


def _cut(tmp_path) -> bytes:
    torch.save(A, tmp_path / "whole")
    return (tmp_path / "whole").read_bytes()[:300]


def _tar(tmp_path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        made.addfile(tarfile.TarInfo("notes.txt"), io.BytesIO())
    return content.getvalue()


FILES = {
    "web page": (lambda _: b"\n <!DOCTYPE html>\n<html><title>Quota exceeded</title></html>", "a web page"),
    "error of a store": (lambda _: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
    "text": (lambda _: b"a person walks\nand sits\n", "but a text"),
    "json": (lambda _: b'{"error": "Repository not found"}', "but a text"),
    "unicode": (lambda _: "\u4e00\u4e8c\n".encode(), "but a text"),
    "nothing": (lambda _: b"", "not a PyTorch checkpoint"),
    "noise": (lambda _: bytes(range(256)) * 9, "not a PyTorch checkpoint"),
    "begins as a pickle": (lambda _: b"\x80\x02" + b"c" * 40, "not a PyTorch checkpoint"),
    "opcodes of a text": (lambda _: b"\x80\x04cos\nsystem\nq\x01X", "not a PyTorch checkpoint"),
    "a pickled text": (lambda _: pickle.dumps("a"), "not a PyTorch checkpoint|it is a str"),
    "begins as an archive": (lambda _: b"PK\x03\x04" + bytes(90), "not a PyTorch checkpoint"),
    "cut": (_cut, "not a PyTorch checkpoint"),
    "an archive": (_tar, "not a PyTorch checkpoint"),
}


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("name", FILES)
def test_any_other_file_is_told_in_one_line(tmp_path, stats, name: str, suffix: str, capsys) -> None:  # noqa: F811
    content, message = FILES[name]
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content(tmp_path))
    arguments = ["motiongpt", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats), "--dry-run"]
    assert run(main, arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(file) in said
    if suffix == ".ckpt":
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(file)


def test_safetensors_under_another_name(tmp_path) -> None:
    save_file(A, tmp_path / "a.ckpt")
    assert set(read_state_dict(tmp_path / "a.ckpt")) == set(A)
