"""Published MotionMillion transformers become models, and models go back into the published layout."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from commands.common import run as run_command
from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError, MldError
from mld.models.families.motionmillion.convert import import_motionmillion, published_state
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.convert_fsq import published_state as published_fsq
from mld.motion.normalizer import Normalizer
from prepare.convert import main as convert
from tests.models.text_encoding import write_t5
from tests.models.tiny_fsq_ae import tiny_fsq_ae
from tests.models.tiny_million import tiny_million

SETTINGS = ["heads=2", "positions=60", "longest_text=12", "motion_generation.max_length=40"]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return write_t5(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def model(text) -> MotionMillion:
    return tiny_million(text=open_text_encoder(text))


@pytest.fixture()
def file(model, tmp_path) -> Path:
    state = {f"module.{name}": value for name, value in published_state(model).items()}
    torch.save({"trans": state, "optimizer": {}, "scheduler": {}, "nb_iter": 5}, tmp_path / "net_5.pth")
    return tmp_path / "net_5.pth"


def imported(file, model, *settings):
    return import_motionmillion(file, model.tokenizer, model.text, [*SETTINGS, *settings])


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    own, got = one.state_dict(), other.state_dict()
    return own.keys() == got.keys() and all(torch.equal(value, got[name]) for name, value in own.items())


def test_published_names(model) -> None:
    assert {name for name in published_state(model) if ".h.1." not in name} == {
        "lm_head.weight", "transformer.wte.weight", "transformer.h.0.rms_1.scale", "transformer.h.0.attn.c_attn.weight",
        "transformer.h.0.attn.c_proj.weight", "transformer.h.0.rms_2.scale", "transformer.h.0.mlp.c_fc1.weight",
        "transformer.h.0.mlp.c_fc2.weight", "transformer.h.0.mlp.c_proj.weight", "transformer.ln_f.scale",
        "llama_proj.weight", "llama_proj.bias",
    }  # fmt: skip


def test_there_and_back(model, file) -> None:
    again, coverage = imported(file, model)
    assert equal(model, again) and not coverage.missing and not coverage.unexpected
    assert not again.config.motion_generation.do_sample and again.config.motion_generation.max_length == 40
    assert any("names lose module." in note for note in coverage.notes)


def test_a_tied_table(text, tmp_path) -> None:
    tied = tiny_million(text=open_text_encoder(text), tie_head=True)
    state = published_state(tied)
    assert state["lm_head.weight"].shape == state["transformer.wte.weight"].shape
    torch.save({"trans": state}, tmp_path / "net.pth")
    again, _ = imported(tmp_path / "net.pth", tied)
    assert equal(tied, again) and again.config.tie_head
    state["lm_head.weight"] += 1
    torch.save({"trans": state}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="as one that is tied, but other weights"):
        imported(tmp_path / "net.pth", tied)


def test_a_package_tells_its_heads(model, tmp_path) -> None:
    save_file({name: value.contiguous() for name, value in published_state(model).items()}, tmp_path / "ar.safetensors")
    with pytest.raises(CheckpointError, match="shapes do not tell heads; give --set heads="):
        import_motionmillion(tmp_path, model.tokenizer, model.text, SETTINGS[1:])
    (tmp_path / "mm_config.json").write_text(json.dumps({"config": {"ar": {"n_head": 2, "n_layer": 2}}}))
    again, _ = import_motionmillion(tmp_path, model.tokenizer, model.text, SETTINGS[1:])
    assert again.config.heads == 2 and equal(model, again)
    (tmp_path / "mm_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="mm_config.json: not readable as JSON"):
        import_motionmillion(tmp_path, model.tokenizer, model.text, SETTINGS[1:])


def test_files_that_do_not_fit(model, file, text) -> None:
    other = tiny_million(text=model.text)
    other.tokenizer.layout = type(other.tokenizer.layout)(codebook_size=99, frames_per_token=2)
    with pytest.raises(CheckpointError, match="writes 30 codes, the tokenizer has 99; name the right --fsq"):
        imported(file, other)
    with pytest.raises(CheckpointError, match="features of width 16, those of 'minilm' have 384"):
        import_motionmillion(file, model.tokenizer, open_text_encoder("minilm"), SETTINGS)
    state = torch.load(file)
    extra = state["trans"] | {"module.extra.weight": torch.zeros(2)}
    missing = {name: value for name, value in state["trans"].items() if "h.1.mlp.c_fc1" not in name}
    small = state["trans"] | {"module.lm_head.weight": torch.zeros(30, 32)}
    none = {name: value for name, value in state["trans"].items() if "wte" not in name}
    for changed, said in (
        (extra, "1 unexpected: extra.weight"), (missing, "1 missing: transformer.h.1.mlp.c_fc1.weight"),
        (small, r"head.weight of shape \(30, 32\)"), (none, "no MotionMillion transformer in it"),
        ({name: value for name, value in state["trans"].items() if "lm_head" not in name},
         "lm_head.weight is missing; of a model that reads and writes codes by one table, give --set tie_head=true"),
        *(({**state["trans"], f"module.{name}": torch.zeros(())}, r"has the shape \(\), expected [12] numbers")
          for name in ("transformer.wte.weight", "llama_proj.weight", "transformer.ln_f.scale")),
    ):  # fmt: skip
        torch.save({"trans": changed}, file)
        with pytest.raises(CheckpointError, match=said):
            imported(file, model)


def test_by_command(model, file, text, tmp_path, capsys) -> None:
    Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(tmp_path)
    tokenizer, out = save_model(model.tokenizer, tmp_path / "tokenizer"), tmp_path / "model"
    options = ["--fsq", str(tokenizer), "--stats", str(tmp_path), "--text-encoder", text, "--set", *SETTINGS]
    assert run_command(convert, ["motionmillion", str(file), str(out), *options]) == 0
    assert "60 frames, pelvis at" in capsys.readouterr().out
    assert equal(model, load_model(out))
    assert run_command(convert, ["motionmillion-export", str(out), str(tmp_path / "published")]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    again = [*command[3:5], str(tmp_path / "again"), *command[6:]]
    assert run_command(convert, again) == 0
    assert equal(model, load_model(tmp_path / "again"))
    assert load_model(tmp_path / "again").config.llama() == model.config.llama()


def test_a_tokenizer_that_is_not_there(file, text, tmp_path) -> None:
    options = ["--stats", str(tmp_path), "--text-encoder", text]
    with pytest.raises(MldError, match="no such file; name the published tokenizer, or a model folder with one: --fsq"):
        convert(["motionmillion", str(file), str(tmp_path / "out"), *options, "--fsq", str(tmp_path / "none.pth")])


PACKAGED = {"nb_code": 512, "vq_act": "relu", "vq_norm": "LN", "dilation_growth_rate": 3, "patch_size": 1}


@pytest.fixture()
def package(text, tmp_path) -> tuple[MotionMillion, Path]:
    """A folder as others publish the weights: both networks, what shapes do not tell, statistics and text encoder."""
    model, folder = tiny_million(text=open_text_encoder(text), tokenizer=tiny_fsq_ae(codes=512)), tmp_path / "package"
    shutil.copytree(text, folder / "text_encoder")
    for file, state in (("ar", published_state(model)), ("fsq", published_fsq(model.tokenizer))):
        save_file({name: value.contiguous() for name, value in state.items()}, folder / f"{file}.safetensors")
    (folder / "mm_config.json").write_text(json.dumps({"config": {"vqvae": PACKAGED, "ar": {"n_head": 2}}}))
    (folder / "model_index.json").write_text('{"_class_name": "Somebodys"}')
    Normalizer(model.tokenizer.feature_mean, model.tokenizer.feature_std).save(folder)
    return model, folder


def package_options(folder: Path) -> list[str]:
    of_text = ["--text-encoder", str(folder / "text_encoder")]
    return ["motionmillion", str(folder), str(folder.parent / "made"), "--stats", str(folder), *of_text]


def test_a_whole_package(package, capsys) -> None:
    model, folder = package
    assert run_command(convert, [*package_options(folder), "--set", *SETTINGS[1:]]) == 0
    told = capsys.readouterr().out
    assert "60 frames, pelvis at" in told and "from mm_config.json: codes=512 activation=relu norm=LN" in told
    made = load_model(folder.parent / "made")
    assert equal(model, made) and made.tokenizer.config == replace(model.tokenizer.config, normalizer="data")
    origin = json.loads((folder.parent / "made" / "provenance.json").read_text())
    capsys.readouterr()
    given = package_options(folder)
    assert run_command(convert, [*given[: given.index("--text-encoder")], "--dry-run", "--set", *SETTINGS[1:]]) == 0
    assert "the text encoder is that of the package" in capsys.readouterr().out
    assert [part["file"] for part in origin["parents"]] == ["ar.safetensors", "fsq.safetensors"]


@pytest.mark.parametrize("missing, said", [
    ("ar.safetensors", "ar.safetensors: no such file"), ("fsq.safetensors", "name the published tokenizer"),
    ("mean.npy", "mean.npy"), ("text_encoder", "text_encoder"),
])  # fmt: skip
def test_a_package_that_lacks_a_part(missing: str, said: str, package, capsys) -> None:
    _, folder = package
    place = folder / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert run_command(convert, [*package_options(folder), "--set", *SETTINGS[1:]]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert said in last and not (folder.parent / "made").exists(), last


def test_both_parts_go_back_into_the_published_layout(package, tmp_path, capsys) -> None:
    model, _ = package
    folder, out = save_model(model, tmp_path / "model"), tmp_path / "published"
    assert run_command(convert, ["motionmillion-export", str(folder), str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {"net_last.pth", "fsq_net_last.pth", "mean.npy", "std.npy"}
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert run_command(convert, [*command[3:5], str(tmp_path / "again"), *command[6:]]) == 0
    assert equal(model, load_model(tmp_path / "again"))


def test_weights_of_another_size(package) -> None:
    """What is asked for has to be what is there: no layer is left out, none is made up."""
    model, folder = package
    for setting, said in (("width=64", "of shape"), ("layers=3", "missing")):
        with pytest.raises(CheckpointError, match=said):
            import_motionmillion(folder, model.tokenizer, model.text, [*SETTINGS, setting])
    other = tiny_million(text=model.text, tokenizer=tiny_fsq_ae(codes=256))
    with pytest.raises(CheckpointError, match="writes 512 codes, the tokenizer has 240; name the right --fsq"):
        import_motionmillion(folder, other.tokenizer, model.text, SETTINGS)
