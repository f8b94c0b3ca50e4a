"""Published MotionStreamer checkpoints become models, and models go back into the published layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from commands.common import run as run_command
from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError, ConfigError
from mld.models.families.motionstreamer.convert import (
    import_causal_ae,
    import_motionstreamer,
    published_states,
)
from mld.motion.normalizer import Normalizer
from prepare.convert import main as convert
from tests.models.text_encoding import write_sentence_t5
from tests.models.tiny_streamer import tiny_causal_ae, tiny_streamer

SETTINGS = ["architecture.heads=2", "architecture.positions=40", "head.num_inference_steps=6", "window=12"]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return write_sentence_t5(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def model(text):
    from mld.models.text_encoders.opening import open_text_encoder

    return tiny_streamer(text=open_text_encoder(text))


@pytest.fixture()
def files(model, tmp_path):
    """The two checkpoints, statistics and the end latent."""
    tae, trans = published_states(model)
    torch.save({"net": {f"module.{k}": v for k, v in tae.items()}}, tmp_path / "net_last.pth")
    torch.save({"trans": trans, "scheduler": {}, "optimizer": {}}, tmp_path / "latest.pth")
    Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(tmp_path)
    np.save(tmp_path / "end.npy", model.end_latent.numpy()[None])
    return tmp_path


def imported(files, text, *settings, **options):
    end = options.pop("end", files / "end.npy")
    return import_motionstreamer(
        files / "latest.pth", files, files / "net_last.pth", text, end, [*SETTINGS, *settings], **options
    )


def test_there_and_back(model, files, text) -> None:
    again, coverage = imported(files, text, "head.precondition=true", "tokenizer.config.latent_channels=8")
    own, got = model.state_dict(), again.state_dict()
    assert own.keys() == got.keys() and all(torch.equal(value, got[key]) for key, value in own.items())
    assert not coverage.missing and not coverage.unexpected
    assert abs(again.config.architecture.scale - model.config.architecture.scale) < 1e-12


def test_by_command(model, files, text, tmp_path) -> None:
    out = tmp_path / "model"
    options = ["--tae", str(files / "net_last.pth"), "--stats", str(files), "--text-encoder", text]
    options += ["--end-latent", str(files / "end.npy"), "--set", *SETTINGS, "head.precondition=true"]
    assert run_command(convert, ["motionstreamer", str(files / "latest.pth"), str(out), *options]) == 0
    assert torch.equal(load_model(out).end_latent, model.end_latent)
    assert run_command(convert, ["motionstreamer-export", str(out), str(tmp_path / "published")]) == 0
    state = torch.load(tmp_path / "published" / "latest.pth")["trans"]
    assert state["transformer.h.1.attn.scale"].dtype == torch.float64
    assert torch.equal(state["diff_loss.net.input_proj.weight"], model.head.net.input_proj.weight)
    single = ["causal-ae", str(files / "net_last.pth"), str(tmp_path / "ae"), "--stats", str(files)]
    assert run_command(convert, single) == 0
    assert load_model(tmp_path / "ae").layout.channels == 8


def test_the_end_latent_is_known_or_named(model, files, text) -> None:
    computed, coverage = imported(files, text, "head.precondition=true", end=None)
    torch.testing.assert_close(computed.end_latent, model.end_latent)
    assert any("end latent is computed" in note for note in coverage.notes)
    np.save(files / "wrong.npy", np.zeros(3))
    (files / "text.npy").write_text("hello")
    for name, said in (("wrong.npy", "8 numbers"), ("text.npy", "not a readable npy"), ("none.npy", "not a readable")):
        with pytest.raises(CheckpointError, match=said):
            imported(files, text, "head.precondition=true", end=files / name)


def test_files_that_do_not_fit(model, files, text) -> None:
    with pytest.raises(CheckpointError, match="no causal auto-encoder"):
        import_causal_ae(files / "latest.pth", files)
    with pytest.raises(CheckpointError, match="no MotionStreamer transformer"):
        import_motionstreamer(files / "net_last.pth", files, files / "net_last.pth", text)
    state = torch.load(files / "latest.pth")
    state["trans"]["transformer.h.0.attn.scale"] += 1
    torch.save(state, files / "latest.pth")
    with pytest.raises(CheckpointError, match="different factors of attention"):
        imported(files, text)
    state["trans"]["transformer.h.0.attn.scale"] -= 1
    state["trans"]["out_proj.weight"][0, 0] = torch.nan
    torch.save(state, files / "latest.pth")
    with pytest.raises(CheckpointError, match="NaN|finite"):
        imported(files, text)


def test_another_text_encoder(files) -> None:
    with pytest.raises(CheckpointError, match="those of 'minilm' have 384; name the right --text-encoder"):
        imported(files, "minilm")


def test_norms_that_look_alike_are_asked_for(tmp_path) -> None:
    tokenizer = tiny_causal_ae(norm="LN")
    Normalizer(tokenizer.feature_mean, tokenizer.feature_std).save(tmp_path)
    named = {f"tae.{k}".replace("posterior_proj", "encoder.proj"): v for k, v in tokenizer.state_dict().items()}
    torch.save({"net": {k: v for k, v in named.items() if "feature_" not in k}}, tmp_path / "tae.pth")
    with pytest.raises(CheckpointError, match="layer and group norm look alike"):
        import_causal_ae(tmp_path / "tae.pth", tmp_path)
    found, _ = import_causal_ae(tmp_path / "tae.pth", tmp_path, ["norm=LN"])
    assert found.config.norm == "LN" and found.layout.causal


def test_what_the_published_layout_has_no_place_for() -> None:
    from mld.models.backbones.llama import LlamaConfig

    plain = tiny_streamer(architecture=LlamaConfig(2, 2, 32, 40, qk_norm=False))
    with pytest.raises(ConfigError, match="qk_norm"):
        published_states(plain)


def test_a_folder_of_its_own(model, tmp_path) -> None:
    again = load_model(save_model(model, tmp_path / "model"))
    assert again.config == model.config and again.text.identity == model.text.identity
