"""Published ViMoGen networks become models, models go back into the published layout, and Wan2.1 weights start one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from commands.common import run as run_command
from mld.checkpoint import load_model
from mld.errors import CheckpointError, ConfigError, DataError, MldError
from mld.models.backbones.dit import DiT
from mld.models.families.vimogen import statistics
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.convert import import_vimogen, published_state, settings_of, start_from_wan
from mld.models.families.vimogen.model import ViMoGen
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.normalizer import Normalizer
from prepare import convert as convert_module
from prepare.convert import main as convert
from tests.models.text_encoding import write_umt5

FIXTURE = Path(__file__).parents[1] / "parity" / "cases" / "vimogen_dit" / "dit_a.safetensors"
SIZES = {"layers": 2, "heads": 2, "width": 32, "ffn": 48, "reference_layers": 1, "time_waves": 16, "positions": 300}


def own_statistics(seed: int = 5) -> Normalizer:
    return released(0.99, 0.02, seed)


def released(mean: float, std: float, seed: int = 5) -> Normalizer:
    """Statistics with such numbers where the root does not turn."""
    torch.manual_seed(seed)
    found = Normalizer(torch.randn(276), 0.1 + torch.rand(276), "data")
    found.mean[[264, 267]], found.std[[264, 267]] = mean, std
    return found


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return write_umt5(tmp_path_factory.mktemp("text"))


def tiny(text: str, **changes) -> ViMoGen:
    torch.manual_seed(2)
    config = ViMoGenConfig(**{**SIZES, "num_inference_steps": "3", "text_rows": 12, **changes})
    tokenizer = Frames(FramesConfig("motion276"), own_statistics())
    model = ViMoGen(config, tokenizer, open_text_encoder(text)).eval()
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def model(text) -> ViMoGen:
    return tiny(text)


@pytest.fixture()
def folder(model, tmp_path) -> Path:
    """As it is handed on."""
    return written(published_state(model), tmp_path / "package")


def written(state: dict[str, Tensor], folder: Path, statistics: Normalizer | None = None) -> Path:
    (folder / "assets" / "meta").mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "model.pt")
    (statistics or own_statistics()).save(folder / "assets" / "meta")
    return folder


def imported(folder: Path, model: ViMoGen, *settings: str):
    return import_vimogen(folder, folder / "assets" / "meta", model.text, ["heads=2", *settings])


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    own, got = one.state_dict(), other.state_dict()
    return own.keys() == got.keys() and all(torch.equal(value, got[name]) for name, value in own.items())


def wan_state(model: ViMoGen) -> dict[str, Tensor]:
    """What a Wan2.1 transformer of these sizes has: of ours what is not of motions, patches and head of videos."""
    ours = ("ref_motion", "motion_", "norm4")
    shared = {name: value for name, value in published_state(model).items() if not any(part in name for part in ours)}
    return shared | {
        "patch_embedding.weight": torch.zeros(32, 16, 1, 2, 2), "patch_embedding.bias": torch.zeros(32),
        "head.modulation": torch.zeros(1, 2, 32), "head.head.weight": torch.zeros(64, 32),
        "head.head.bias": torch.zeros(64),
    }  # fmt: skip


def save_wan(state: dict[str, Tensor], file: Path) -> None:
    save_file({name: value.contiguous() for name, value in state.items()}, file)


def test_there_and_back(model, folder) -> None:
    again, coverage = imported(folder, model)
    assert equal(model, again) and not coverage.missing and not coverage.unexpected
    sizes = again.transformer.config
    assert sizes == model.transformer.config and again.tokenizer.representation == "motion276"
    assert published_state(again).keys() == torch.load(folder / "model.pt").keys()
    again, _ = import_vimogen(folder / "model.pt", folder / "assets" / "meta", model.text, ["heads=2"])
    assert equal(model, again)


def test_weights_of_the_published_code(tmp_path) -> None:
    """A file with the published names, made by the published modules (parity case)."""

    class Text:
        width, source = 40, "features of the case"

    published = load_file(FIXTURE)
    folder = written(published, tmp_path)
    model, coverage = import_vimogen(folder, folder / "assets" / "meta", Text(), ["heads=2"])
    assert not coverage.unexpected and sum(coverage.ignored.values()) == 2
    assert len(coverage.loaded) + 2 == len(published)
    back = published_state(model)
    assert back.keys() == published.keys()
    for name, value in published.items():
        torch.testing.assert_close(back[name], value, atol=1e-6 if name.endswith(".pe") else 0, rtol=0)


def test_tables_of_positions_may_be_missing_and_nothing_else(model, folder) -> None:
    state = published_state(model)
    tables = {name for name in state if name.endswith(".pe")}
    assert tables == {"motion_pos_embedding.pe", "ref_motion_pos_embedding.pe"}
    assert all(state[name].shape == (300, 1, 32) for name in tables)
    written({name: value for name, value in state.items() if name not in tables}, folder)
    again, coverage = imported(folder, model)
    assert again.transformer.config.positions == 5000 and not coverage.missing
    written({name: value for name, value in state.items() if name != "blocks.1.cross_attn.k.bias"}, folder)
    with pytest.raises(CheckpointError, match="1 missing: transformer.blocks.1.text_attention.key.bias"):
        imported(folder, model)


def test_an_encoder_of_references_of_another_depth_is_told(text, tmp_path) -> None:
    shallow = tiny(text, reference_layers=0)
    assert "reference_layers=0" in settings_of(shallow)
    again, _ = imported(written(published_state(shallow), tmp_path), shallow, "reference_layers=0")
    assert equal(shallow, again)


def test_a_model_that_follows_texts_alone(text, tmp_path) -> None:
    light = tiny(text, references=False)
    state = published_state(light)
    assert not any("ref_motion" in name or "norm4" in name for name in state)
    again, _ = imported(written(state, tmp_path), light)
    assert equal(light, again) and not again.config.references


def test_weights_in_half_precision(model, folder) -> None:
    state = {name: value.bfloat16() for name, value in published_state(model).items()}
    again, _ = imported(written(state, folder), model)
    assert again.transformer.embed.weight.dtype == torch.float32
    torch.testing.assert_close(again.transformer.embed.weight, model.transformer.embed.weight, atol=0, rtol=2**-8)


def test_heads_are_told_by_a_description_or_asked_for(model, folder) -> None:
    stats = folder / "assets" / "meta"
    with pytest.raises(CheckpointError, match="shapes do not tell heads; give --set heads="):
        import_vimogen(folder, stats, model.text)
    (folder / "model_index.json").write_text(json.dumps({"model": {"num_heads": 4}}))
    assert import_vimogen(folder, stats, model.text)[0].transformer.config.heads == 4
    assert imported(folder, model)[0].transformer.config.heads == 2
    (folder / "model_index.json").write_text("{")
    with pytest.raises(CheckpointError, match="model_index.json: not readable as JSON"):
        import_vimogen(folder, stats, model.text)


def test_files_that_do_not_fit(model, folder) -> None:
    state = published_state(model)

    def without(*parts: str) -> dict[str, Tensor]:
        return {name: value for name, value in state.items() if not any(part in name for part in parts)}

    for changed, said in (
        (without("ref_motion_encoder"), "0 layers read references, of 2 published networks have 1; damaged, or"),
        (state | {"blocks.0.norm4.bias": torch.zeros(32).to_sparse()}, "norm4.bias is sparse_coo, a network has dense"),
        (state | {"blocks.0.norm4.bias": torch.zeros(32, device="meta")}, "norm4.bias has a shape and no numbers"),
        (state | {"extra.weight": torch.zeros(2)}, "1 unexpected: extra.weight"),
        (without("blocks.1.ffn.2"), "2 missing: transformer.blocks.1.mlp.2"),
        (without("motion_head.head"), r"no ViMoGen network in it \(motion_head.head.weight is missing\)"),
        (state | {"blocks.0.norm4.bias": torch.zeros(31)}, r"reference_norm.bias of shape \(31,\)"),
        (state | {"blocks.0.norm4.bias": torch.full((32,), torch.nan)}, "norm4.bias holds NaN or infinite numbers"),
        (state | {"motion_pos_embedding.pe": torch.zeros(300, 1, 32)}, "motion_pos_embedding.pe is not the sinusoid"),
        (state | {"motion_pos_embedding.pe": torch.zeros(300, 1, 30)}, "motion_pos_embedding.pe is not the sinusoid"),
        (state | {"motion_embedding.weight": torch.zeros(32, 40)}, "no representation has that width"),
        (state | {"motion_embedding.weight": torch.zeros(32)}, r"has the shape \(32,\), expected 2 numbers"),
        (state | {"ref_motion_embedding.weight": torch.zeros(32, 126)}, "reads references of 126 columns; those of"),
    ):  # fmt: skip
        torch.save(changed, folder / "model.pt")
        with pytest.raises(CheckpointError, match=said) as error:
            imported(folder, model)
        assert len(str(error.value).splitlines()[0]) <= 300
    with pytest.raises(CheckpointError, match="features of width 16, those of 'minilm' have 384"):
        import_vimogen(written(state, folder), folder / "assets" / "meta", open_text_encoder("minilm"), ["heads=2"])
    with pytest.raises(ConfigError, match="width 32 is not an even number of channels in 5 heads"):
        imported(folder, model, "heads=5")
    (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:9000])
    with pytest.raises(CheckpointError, match="damaged or not a PyTorch checkpoint"):
        imported(folder, model)
    with pytest.raises(CheckpointError, match="nowhere/model.pt: no such file|nowhere: no such file"):
        import_vimogen(folder / "nowhere", folder / "assets" / "meta", model.text)


def test_statistics_of_the_other_release_are_refused(model, folder) -> None:
    """Those of December 2025 have 0.69 and 0.29 where later ones have 0.999 and 0.007 (vimogen spec 1.9)."""
    december, full = released(0.693, 0.29), released(0.9987, 0.0069)
    december.save(folder / "assets" / "meta")
    with pytest.raises(CheckpointError, match="statistics of the release of December 2025; .*--set release=december"):
        imported(folder, model)
    _, coverage = imported(folder, model, "release=december")
    assert "statistics of December 2025" in coverage.notes
    full.save(folder / "assets" / "meta")
    with pytest.raises(CheckpointError, match="not the statistics of December 2025"):
        imported(folder, model, "release=december")
    assert any("not those of the published weights" in note for note in imported(folder, model)[1].notes)
    with pytest.raises(CheckpointError, match="--set release=may: there are full and december"):
        imported(folder, model, "release=may")


def test_published_statistics_are_known_by_their_hash(model, folder, monkeypatch) -> None:
    own = own_statistics()
    monkeypatch.setattr(statistics, "HASHES", (statistics.digest(own.mean), statistics.digest(own.std)))
    assert "statistics are the published ones" in imported(folder, model)[1].notes
    changed = own.std.clone()
    changed[7] *= 1 + 2**-20
    Normalizer(own.mean, changed).save(folder / "assets" / "meta")
    assert "statistics are the published ones" not in imported(folder, model)[1].notes


def test_statistics_that_cannot_be(model, folder) -> None:
    np.save(folder / "assets" / "meta" / "std.npy", np.zeros(276, np.float32))
    with pytest.raises(DataError, match="a std that is not above 0"):
        imported(folder, model)
    np.save(folder / "assets" / "meta" / "std.npy", np.ones(263, np.float32))
    with pytest.raises(DataError, match="shapes"):
        imported(folder, model)


def test_a_start_from_wan(model, text, tmp_path) -> None:
    """What it has in common is taken, the rest is random and follows the seed."""
    state = wan_state(model)
    save_wan(state, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_heads": 2, "dim": 32, "model_type": "t2v"}))
    own_statistics().save(tmp_path)
    start, coverage = start_from_wan(tmp_path, tmp_path, model.text, ["positions=300"], seed=3)
    got, want = start.state_dict(), model.state_dict()
    assert set(coverage.loaded) == {name for name in got if name.startswith("transformer.") and not any(
        part in name for part in ("reference", "transformer.embed", "head."))}  # fmt: skip
    assert all(torch.equal(got[name], want[name]) for name in coverage.loaded)
    assert sum(coverage.ignored.values()) == 5 and not coverage.missing and not coverage.unexpected
    new = [name for name in got if name.startswith("transformer.") and name not in coverage.loaded]
    assert any(f"{len(new)} tensors with" in note and "are random" in note for note in coverage.notes)
    assert start.transformer.config == model.transformer.config
    same, _ = start_from_wan(tmp_path, tmp_path, model.text, ["positions=300"], seed=3)
    other, _ = start_from_wan(tmp_path, tmp_path, model.text, ["positions=300"], seed=4)
    assert equal(start, same) and not equal(start, other)


def test_wan_files_that_do_not_fit(model, tmp_path) -> None:
    state, file = wan_state(model), tmp_path / "diffusion_pytorch_model.safetensors"
    own_statistics().save(tmp_path)
    images = state | {"blocks.0.cross_attn.k_img.weight": torch.zeros(32, 32)}
    short = {name: value for name, value in state.items() if "blocks.1.norm3" not in name}
    renamed = {name.replace("self_attn", "attn1"): value for name, value in state.items()}
    for changed, said in (
        (images, "k_img.weight not of this network"), (short, "2 missing: transformer.blocks.1.text_norm"),
        (renamed, "attn1"), ({"head.head.weight": torch.zeros(2, 2)}, "no Wan2.1 transformer in it"),
        (state | {"blocks.0.norm3.bias": torch.zeros(31)}, r"of shape \(31,\), \(32,\) is needed"),
    ):  # fmt: skip
        save_wan(changed, file)
        with pytest.raises(CheckpointError, match=said):
            start_from_wan(file, tmp_path, model.text, ["heads=2"])
    save_wan(state, file)
    with pytest.raises(CheckpointError, match="shapes do not tell heads"):
        start_from_wan(file, tmp_path, model.text)


def test_by_command(model, folder, text, tmp_path, capsys) -> None:
    """Import, export and import: the same weights, statistics and settings."""
    out, options = tmp_path / "model", ["--text-encoder", text, "--set", "heads=2", "text_rows=12"]
    options += ["num_inference_steps=3"]
    assert run_command(convert, ["vimogen", str(folder), str(out), *options]) == 0
    assert "frames, pelvis at" in capsys.readouterr().out
    assert equal(model, load_model(out))
    assert run_command(convert, ["vimogen-export", str(out), str(tmp_path / "published")]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert run_command(convert, [*command[3:5], str(tmp_path / "again"), *command[6:]]) == 0
    again = load_model(tmp_path / "again")
    assert equal(model, again) and again.transformer.config == model.transformer.config
    assert again.config == load_model(out).config
    first, second = (torch.load(path / "model.pt") for path in (folder, tmp_path / "published"))
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("large, steps", [(10**9, 3), (10, 8)])
def test_the_sample_of_a_large_network_takes_few_steps(model, monkeypatch, large: int, steps: int) -> None:
    calls, through = [], DiT.through
    monkeypatch.setattr(convert_module, "LARGE", large)
    monkeypatch.setattr(DiT, "through", lambda self, *given: calls.append(1) or through(self, *given))
    convert_module.smoke_sample(model)
    assert len(calls) == steps and model.config.steps == 3


def test_a_start_by_command_is_trained_from(model, text, tmp_path, capsys) -> None:
    save_wan(wan_state(model), tmp_path / "wan.safetensors")
    own_statistics().save(tmp_path)
    command = ["vimogen-init", str(tmp_path / "wan.safetensors"), str(tmp_path / "start"), "--stats", str(tmp_path)]
    assert run_command(convert, [*command, "--text-encoder", text, "--set", "heads=2", "positions=300"]) == 0
    printed = capsys.readouterr().out
    assert f"init_from={tmp_path / 'start'}" in printed and "smoke" not in printed
    assert load_model(tmp_path / "start").transformer.config == model.transformer.config


def test_statistics_that_are_not_there(folder, text, tmp_path) -> None:
    (folder / "assets" / "meta" / "mean.npy").unlink()
    with pytest.raises(MldError, match=r"assets/meta: no mean.npy; name the folder .*: --stats"):
        convert(["vimogen", str(folder), str(tmp_path / "out"), "--text-encoder", text])
