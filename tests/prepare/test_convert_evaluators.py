"""Import of published evaluators, on files with the published layout built from tiny random networks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from commands.common import run
from mld.checkpoint import load_model
from mld.errors import CheckpointError
from mld.models.evaluators.guo.convert import import_guo
from mld.models.evaluators.tmr.convert import import_tmr, import_tmr272
from mld.motion.normalizer import Normalizer
from prepare.convert import main
from tests.models.evaluating import CAPTIONS, motions, statistics, tiny_guo, tiny_tmr, tiny_tmr272, write_text_encoder


def part(network, name: str) -> dict[str, torch.Tensor]:
    return dict(getattr(network, name).state_dict())


def finest(model, path: Path, **changes) -> Path:
    """finest.tar: three state dicts, two optimisers, counters."""
    names = ("text_encoder", "motion_encoder", "movement_encoder")
    optimizer = torch.optim.Adam(model.text_encoder.parameters()).state_dict()
    content = {name: part(model, name) for name in names}
    content |= {"opt_text_encoder": optimizer, "opt_motion_encoder": optimizer, "epoch": 3, "iter": 70}
    for key, value in changes.items():
        name, tensor = key.split("__")
        if value is None:
            content[name].pop(tensor.replace("_of_", "."))
        else:
            content[name][tensor.replace("_of_", ".")] = value
    torch.save(content, path)
    return path


def glove(model, folder: Path) -> Path:
    """Word files as published: float64 vectors, pickled list and dictionary."""
    folder.mkdir()
    np.save(folder / "our_vab_data.npy", model.words.vectors.astype(np.float64))
    (folder / "our_vab_words.pkl").write_bytes(pickle.dumps(list(model.words.words)))
    (folder / "our_vab_idx.pkl").write_bytes(pickle.dumps(model.words.index))
    return folder


def stats(folder: Path, width: int, kind: str) -> Path:
    statistics(width, kind).save(folder)
    return folder


@pytest.mark.parametrize("representation", ["humanml3d", "kit"])
def test_guo(representation: str, tmp_path, capsys) -> None:
    model = tiny_guo(representation)
    file, words = finest(model, tmp_path / "finest.tar"), glove(model, tmp_path / "glove")
    meta = stats(tmp_path / "meta", model.nfeats, "guo_eval")
    arguments = ["guo", str(file), str(tmp_path / "out"), "--stats", str(meta), "--words", str(words)]
    assert run(main, arguments) == 0
    printed = capsys.readouterr().out
    assert "missing     0" in printed and "unexpected  0" in printed and "standing still is" in printed
    loaded = load_model(tmp_path / "out")
    model.set_normalizer(Normalizer.load(meta, "guo_eval"))
    loaded.config.tagger = model.config.tagger
    features, mask = motions(model.nfeats)
    assert loaded.representation == representation and loaded.config.normalizer == "guo_eval"
    assert torch.equal(loaded.embed_motion(features, mask), model.embed_motion(features, mask))
    assert torch.equal(loaded.embed_text(CAPTIONS), model.embed_text(CAPTIONS))


REFUSALS = {
    "1 missing: motion_encoder.hidden": {"motion_encoder__hidden": None},
    "1 unexpected: movement_encoder.extra": {"movement_encoder__extra": torch.ones(2)},
    "of shape": {"text_encoder__hidden": torch.ones(2, 1, 3)},
    "not a published text/motion matcher": {"movement_encoder__main_of_0_of_weight": None},
    "no representation has that width": {"movement_encoder__main_of_0_of_weight": torch.ones(24, 60, 4)},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_guo_refusals(message: str, tmp_path) -> None:
    model = tiny_guo()
    file = finest(model, tmp_path / "finest.tar", **REFUSALS[message])
    words, meta = glove(model, tmp_path / "glove"), stats(tmp_path / "meta", 263, "guo_eval")
    with pytest.raises(CheckpointError, match=message):
        import_guo(file, meta, words)


def test_all_that_does_not_fit_is_listed_before_the_error(tmp_path, capsys) -> None:
    model = tiny_guo()
    extra = {f"movement_encoder__extra{n}": torch.ones(2) for n in range(40)}
    file, words = finest(model, tmp_path / "finest.tar", **extra), glove(model, tmp_path / "glove")
    meta = stats(tmp_path / "meta", model.nfeats, "guo_eval")
    assert run(main, ["guo", str(file), str(tmp_path / "out"), "--stats", str(meta), "--words", str(words)]) == 2
    *listed, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and "does not fit, 40 unexpected: movement_encoder.extra0" in last
    assert all(any(line.strip() == f"movement_encoder.extra{n}" for line in listed) for n in range(40))


def test_guo_with_other_files(tmp_path, capsys) -> None:
    model = tiny_guo()
    file, words = finest(model, tmp_path / "finest.tar"), glove(model, tmp_path / "glove")
    plain = stats(tmp_path / "plain", 263, "fitted")
    arguments = ["guo", str(file), str(tmp_path / "out"), "--stats", str(plain)]
    assert run(main, arguments) == 2 and "needs --words" in capsys.readouterr().err
    assert run(main, [*arguments, "--words", str(words)]) == 2 and "data set statistics" in capsys.readouterr().err
    np.save(words / "our_vab_data.npy", np.zeros((len(model.words.words), 7)))
    with pytest.raises(CheckpointError, match="word vectors of width 7, the text encoder reads 10"):
        import_guo(file, stats(tmp_path / "meta", 263, "guo_eval"), words)


@pytest.mark.parametrize("as_pt", [False, True])
def test_tmr(as_pt: bool, tmp_path, capsys) -> None:
    encoder = write_text_encoder(tmp_path / "bert")
    model, meta = tiny_tmr(encoder), stats(tmp_path / "meta", 263, "tmr")
    weights = tmp_path / "run" / "last_weights"
    weights.mkdir(parents=True)
    for name in ("motion_encoder", "text_encoder", "motion_decoder"):
        torch.save(part(model, name), weights / f"{name}.pt")
    if as_pt:
        for name in ("mean", "std"):
            torch.save(torch.from_numpy(np.load(meta / f"{name}.npy")), meta / f"{name}.pt")
            (meta / f"{name}.npy").unlink()
    source = [str(tmp_path / "run"), str(tmp_path / "out")]
    assert run(main, ["tmr", *source, "--as-published", "--stats", str(meta), "--text-encoder", encoder]) == 0
    assert "missing     0" in capsys.readouterr().out
    loaded = load_model(tmp_path / "out")
    features, mask = motions(263)
    assert torch.equal(loaded.embed_motion(features, mask), model.embed_motion(features, mask))
    assert torch.equal(loaded.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
    assert (loaded.config.num_layers, loaded.config.ff_size, loaded.config.latent_dim) == (2, 24, 16)
    (weights / "motion_decoder.pt").unlink()
    with pytest.raises(CheckpointError, match="motion_decoder.pt: no such file"):
        import_tmr(tmp_path / "run", meta, encoder, as_published=True)


def test_tmr_with_another_text_encoder(tmp_path) -> None:
    encoder = write_text_encoder(tmp_path / "bert")
    model, meta = tiny_tmr(encoder), stats(tmp_path / "meta", 263, "tmr")
    for name in ("motion_encoder", "text_encoder", "motion_decoder"):
        state = part(model, name)
        if name == "text_encoder":
            state["projection.weight"] = torch.ones(16, 20)
        torch.save(state, tmp_path / f"{name}.pt")
    with pytest.raises(CheckpointError, match="of width 20, but .* gives 16; name the right --text-encoder"):
        import_tmr(tmp_path, meta, encoder, as_published=True)


def lightning_272(model, path: Path, **changes) -> Path:
    """As MotionStreamer's evaluator: separate tokens, stored positions, DistilBERT inside, losses and configs along."""
    state: dict[str, torch.Tensor] = {}
    for ours, theirs in (("motion_encoder", "motionencoder"), ("text_encoder", "textencoder"),
                         ("motion_decoder", "motiondecoder")):  # fmt: skip
        for key, value in part(model, ours).items():
            key = key.replace("projection.", "skel_embedding.") if ours == "motion_encoder" else key
            if key == "tokens":
                state[f"{theirs}.mu_token"], state[f"{theirs}.logvar_token"] = value
            else:
                state[f"{theirs}.{key}"] = value
        state[f"{theirs}.sequence_pos_encoding.pe"] = torch.zeros(5000, 1, 16)
    text = model.text.model.state_dict()
    state |= {f"textencoder.text_model.{key}": value for key, value in text.items()}
    state["losses.train.total"] = torch.tensor(1.0)
    for key, value in changes.items():
        state.pop(key) if value is None else state.update({key: value})
    torch.save({"state_dict": state, "hyper_parameters": OmegaConf.create({"num_head": 6}), "epoch": 99}, path)
    return path


@pytest.mark.parametrize("decoder", [True, False])
def test_the_evaluator_of_motionmillion(decoder: bool, tmp_path, capsys) -> None:
    """`epoch=199.ckpt`: latents of 512, 4 heads, 1024 between; sizes that are known to be published, so nothing has to
    be said. Statistics as that release has them; the tests need the encoders alone."""
    sizes = {"latent_dim": 512, "ff_size": 1024, "num_layers": 1, "num_heads": 4}
    model = tiny_tmr272(write_text_encoder(tmp_path / "bert"), **sizes)
    left_out = {} if decoder else {f"motiondecoder.{key}": None for key in part(model, "motion_decoder")}
    file = lightning_272(model, tmp_path / "epoch=199.ckpt", **left_out)
    meta = stats(tmp_path / "mean_std" / "vector_272", 272, "fitted")
    command = ["tmr272", str(file), str(tmp_path / "out"), "--stats", str(meta)]
    assert run(main, [*command, "--text-encoder", str(tmp_path / "bert")]) == 0
    printed = capsys.readouterr().out
    assert "missing     0" in printed and "num_heads=4" in printed and ("no motion decoder" in printed) == (not decoder)
    loaded = load_model(tmp_path / "out")
    assert (loaded.config.latent_dim, loaded.config.ff_size, loaded.config.num_heads) == (512, 1024, 4)
    features, mask = motions(272)
    model.set_normalizer(Normalizer.load(meta, "data"))
    assert torch.equal(loaded.embed_motion(features, mask), model.embed_motion(features, mask))
    assert torch.equal(loaded.embed_text(CAPTIONS), model.embed_text(CAPTIONS))


def test_tmr272(tmp_path, capsys) -> None:
    model = tiny_tmr272(write_text_encoder(tmp_path / "bert"))
    meta, file = stats(tmp_path / "meta", 272, "fitted"), lightning_272(model, tmp_path / "epoch=99.ckpt")
    other = write_text_encoder(tmp_path / "hub", seed=9)  # tokenizer and sizes only: weights come from the file
    arguments = ["tmr272", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(meta)]
    arguments += ["--text-encoder", other]
    assert run(main, [*arguments, "--dry-run"]) == 0 and not (tmp_path / "out").exists()
    assert run(main, arguments) == 0
    assert "unexpected  0" in capsys.readouterr().out
    loaded = load_model(tmp_path / "out")
    features, mask = motions(272)
    assert torch.equal(loaded.embed_motion(features, mask), model.embed_motion(features, mask))
    assert torch.equal(loaded.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
    for changes, message in (
        ({"motionencoder.mu_token": None}, "missing"),
        ({"motionencoder.extra": torch.ones(1)}, "motion_encoder.extra"),
        ({"textencoder.text_model.embeddings.LayerNorm.bias": None}, "does not fit the text encoder's weights"),
        ({"motionencoder.skel_embedding.weight": None}, "not such an evaluator"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            import_tmr272(lightning_272(model, tmp_path / "bad.ckpt", **changes), meta, other, as_published=True)
