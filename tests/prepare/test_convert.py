"""Import of published checkpoints, on files with the published key layout built from tiny random models."""

from __future__ import annotations

import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from commands.common import run
from mld.checkpoint import load_model
from mld.errors import CheckpointError
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motiongpt.convert import import_motiongpt
from prepare.convert import main
from tests.models.tiny import examples, tiny_motiongpt, tiny_vqvae

AVERAGES = ("quantizer.code_sum", "quantizer.code_count")


def published_vae(model, prefix: str = "vae.") -> dict[str, torch.Tensor]:
    skipped = ("feature_mean", "feature_std", *AVERAGES)
    return {prefix + key: value for key, value in model.state_dict().items() if key not in skipped}


def published_lm(model) -> dict[str, torch.Tensor]:
    own = {f"lm.language_model.{key}": value for key, value in model.lm.state_dict().items()}
    if "lm.language_model.transformer.wte.weight" in own:
        own["lm.language_model.lm_head.weight"] = own["lm.language_model.transformer.wte.weight"]
    return own


def lightning_file(path, state: dict[str, torch.Tensor]):
    """As Lightning saves it: metric networks, loss accumulators and OmegaConf hyper-parameters come along."""
    rest = {"metrics.TM2TMetrics.t2m_textencoder.w": torch.ones(3), "_losses.losses_train.total": torch.tensor(0.0)}
    config = OmegaConf.create({"model": {"lr": 1e-4, "list": [1, 2]}})
    torch.save({"state_dict": OrderedDict({**state, **rest}), "hyper_parameters": config, "epoch": 3}, path)
    return path


@pytest.fixture
def stats(tmp_path):
    """Statistics that pass the check of the published ones: a very small yaw std."""
    folder = tmp_path / "meta"
    folder.mkdir()
    std = np.full(263, 0.1)
    std[0] = 5e-4
    np.save(folder / "mean.npy", np.linspace(-0.1, 0.9, 263))
    np.save(folder / "std.npy", std)
    return folder


@pytest.fixture
def words(tmp_path):
    """The text tokenizer of `tiny_motiongpt` without motion tokens."""
    from mld.models.backbones.text_tokenizer import train_text_tokenizer
    from mld.models.prompts import WORDINGS
    from tests.models.tiny import CORPUS

    train_text_tokenizer([*CORPUS, *WORDINGS * 2], 320).save_pretrained(str(tmp_path / "words"))
    return str(tmp_path / "words")


@pytest.mark.parametrize("prefix", ["vae.", "motion_vae.", ""])
@pytest.mark.parametrize("quantizer", ["ema_reset", "orig"])
def test_vq_only_file(tmp_path, stats, prefix: str, quantizer: str) -> None:
    model = tiny_vqvae(quantizer=quantizer, down_t=3, depth=2)
    file = lightning_file(tmp_path / "vq.tar", published_vae(model, prefix))
    assert run(main, ["motiongpt", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]) == 0
    loaded = load_model(tmp_path / "out")
    assert (loaded.config.down_t, loaded.config.depth, loaded.config.quantizer) == (3, 2, quantizer)
    for key, value in published_vae(model, "").items():
        assert torch.equal(loaded.state_dict()[key], value), key
    torch.testing.assert_close(loaded.feature_std[0], torch.tensor(5e-4))
    assert loaded.config.normalizer == "guo_eval"
    if quantizer == "ema_reset":
        assert (loaded.quantizer.code_count == 1).all()


@pytest.mark.parametrize("backbone", ["t5", "gpt2"])
def test_language_model_file(tmp_path, stats, words, backbone: str, capsys) -> None:
    model = tiny_motiongpt(backbone)
    if backbone == "gpt2":
        # heads of 64, as in every published GPT-2
        model.lm.architecture["n_head"] = 1
        for block in model.lm.transformer.h:
            block.attn.num_heads, block.attn.head_dim = 1, 32
            block.attn.scaling = 32**-0.5
    file = lightning_file(tmp_path / "lm.ckpt", {**published_vae(model.tokenizer), **published_lm(model)})
    arguments = ["motiongpt", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]
    arguments += ["--text-tokenizer", words]
    arguments += ["--set", "lm.architecture.n_head=1"] if backbone == "gpt2" else []
    assert run(main, [*arguments, "--dry-run"]) == 0 and not (tmp_path / "out").exists()
    assert run(main, arguments) == 0
    printed = capsys.readouterr().out
    assert "missing     0" in printed and "unexpected  0" in printed and "smoke sample: 40 frames" in printed
    loaded = load_model(tmp_path / "out")
    for key, value in model.lm.state_dict().items():
        assert torch.equal(loaded.lm.state_dict()[key], value), key
    if backbone == "t5":
        assert not torch.equal(loaded.lm.lm_head.weight, loaded.lm.shared.weight)
        assert loaded.lm.architecture == model.lm.architecture
    model.tokenizer.feature_mean.copy_(loaded.tokenizer.feature_mean)
    model.tokenizer.feature_std.copy_(loaded.tokenizer.feature_std)
    torch.testing.assert_close(loaded.loss(examples()), model.loss(examples()))


def test_tokenizer_of_a_language_model_file(tmp_path, stats) -> None:
    model = tiny_motiongpt()
    file = lightning_file(tmp_path / "lm.ckpt", {**published_vae(model.tokenizer), **published_lm(model)})
    network, coverage = import_motiongpt(file, stats, tokenizer_only=True, as_published=True)
    assert network.kind == "tokenizer"
    assert coverage.ignored["--tokenizer-only"] == len(published_lm(model))


def changed(state: dict, **changes) -> dict:
    out = {**state}
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            out.pop(name)
        else:
            out[name] = value
    return out


REFUSALS = {
    "decoder.model.6.bias": {"vae__decoder__model__6__bias": None},
    "vae_ema": {"vae_ema__decoder": torch.ones(2)},
    "tokenizer.encoder.extra": {"vae__encoder__extra": torch.ones(2)},
    "shape \\(3,\\)": {"vae__decoder__model__6__bias": torch.ones(3)},
    "never trained": {"vae__quantizer__codebook": torch.zeros(24, 16)},
    "no motion tokenizer": {"vae__quantizer__codebook": None},
    "no representation": {"vae__encoder__model__0__weight": torch.ones(24, 77, 3)},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_name_the_tensor(tmp_path, stats, message: str) -> None:
    file = lightning_file(tmp_path / "vq.tar", changed(published_vae(tiny_vqvae()), **REFUSALS[message]))
    with pytest.raises(CheckpointError, match=message):
        import_motiongpt(file, stats, as_published=True)


def test_wrong_vocabulary_and_statistics(tmp_path, stats, words, capsys) -> None:
    from mld.models.backbones.text_tokenizer import train_text_tokenizer

    model = tiny_motiongpt()
    file = lightning_file(tmp_path / "lm.ckpt", {**published_vae(model.tokenizer), **published_lm(model)})
    train_text_tokenizer(["x"], 260).save_pretrained(str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="--text-tokenizer"):
        import_motiongpt(file, stats, text_tokenizer=str(tmp_path / "other"), as_published=True)
    np.save(stats / "std.npy", np.full(263, 0.1))
    assert run(main, ["motiongpt", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]) == 2
    assert "data set statistics" in capsys.readouterr().err
    embedding = "lm.language_model.encoder.embed_tokens.weight"
    twisted = {**published_vae(model.tokenizer), **published_lm(model)}
    twisted[embedding] = twisted[embedding] + 1
    np.save(stats / "std.npy", np.full(263, 5e-4))
    with pytest.raises(CheckpointError, match="one embedding"):
        import_motiongpt(lightning_file(tmp_path / "t.ckpt", twisted), stats, text_tokenizer=words, as_published=True)


class Attack:
    def __reduce__(self):
        return os.system, (f"touch {Attack.target}",)


def test_nothing_in_a_file_is_run(tmp_path) -> None:
    Attack.target = str(tmp_path / "owned")
    torch.save({"state_dict": {"a": torch.arange(3)}, "callbacks": Attack(), "more": [OmegaConf.create([1])]},
               tmp_path / "bad.ckpt")  # fmt: skip
    state = read_state_dict(tmp_path / "bad.ckpt")
    assert list(state) == ["a"] and torch.equal(state["a"], torch.arange(3))
    assert not (tmp_path / "owned").exists()


def test_files_that_are_none(tmp_path) -> None:
    (tmp_path / "noise.ckpt").write_bytes(b"nothing of the kind")
    (tmp_path / "pointer.ckpt").write_text("version https://git-lfs.github.com/spec/v1\n")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "empty.ckpt")
    for name, message in (
        ("noise", "not a PyTorch checkpoint"), ("pointer", "lfs pull"), ("empty", "no state dict"), ("gone", "no such"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(tmp_path / f"{name}.ckpt")


@pytest.mark.parametrize("norm", ["LN", "GN"])
def test_layer_and_group_norm_are_asked_for(tmp_path, stats, norm: str, capsys) -> None:
    """They have the same names and shapes, and other codes."""
    model = tiny_vqvae(norm=norm, width=32)
    arguments = ["motiongpt", str(lightning_file(tmp_path / "vq.tar", published_vae(model))), str(tmp_path / "out"),
                 "--as-published", "--stats", str(stats)]  # fmt: skip
    assert run(main, arguments) == 2 and "norm=LN or GN" in capsys.readouterr().err
    assert run(main, [*arguments, "--set", f"tokenizer.config.norm={norm}"]) == 0
    loaded = load_model(tmp_path / "out")
    hidden = torch.randn(1, 263, 64)
    mask = torch.ones(1, 1, 64, dtype=torch.bool)
    assert loaded.config.norm == norm
    assert torch.equal(loaded.encoder(hidden, mask)[0], model.encoder(hidden, mask)[0])


def test_what_shapes_do_not_tell_can_be_set(tmp_path, stats, capsys) -> None:
    model = tiny_vqvae(activation="silu", dilation_growth_rate=2)
    file = lightning_file(tmp_path / "vq.tar", published_vae(model))
    told = ["tokenizer.config.activation=silu", "tokenizer.config.dilation_growth_rate=2"]
    network, coverage = import_motiongpt(file, stats, settings=told, as_published=True)
    assert (network.config.activation, network.config.dilation_growth_rate) == ("silu", 2)
    assert not coverage.notes, "nothing is left open"
    arguments = ["motiongpt", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats), "--set"]
    for wrong in ("tokenizer.config.activatoin=silu", "tokenizer.sizes=3", "legacy_token_lengths=true"):
        assert run(main, [*arguments, wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
