"""MotionMillion tokenizers, published ones into ours and ours back: with and without a patcher, wrapped, packaged."""

from __future__ import annotations

import json
import shlex

import pytest
import torch
from safetensors.torch import save_file

from commands.common import run as run_command
from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError
from mld.models.tokenizers.convert_fsq import import_fsq_ae, published_state
from mld.motion.normalizer import Normalizer
from prepare.convert import main as convert
from tests.models.tiny_fsq_ae import clip, whole
from tests.models.tiny_fsq_ae import tiny_fsq_ae as tiny


def published(model, patcher: bool, prefix: str = "vqvae.") -> dict[str, torch.Tensor]:
    """Weights under published names: behind a patcher layers of the encoder count from 1 on."""
    state = {}
    for key, value in model.state_dict().items():
        if key.startswith("feature_"):
            continue
        part, _, rest = key.partition(".model.")
        number, _, name = rest.partition(".")
        shifted = f"encoder.model.{int(number) + 1}.{name}" if patcher and part == "encoder" else key
        state[prefix + shifted] = value.clone()
    if patcher:
        for place in ("encoder.model.0", "decoder.model.6"):
            state |= {f"{prefix}{place}.wavelets": torch.ones(2), f"{prefix}{place}._arange": torch.arange(2)}
    return state


@pytest.fixture()
def stats(tmp_path):
    model = tiny()
    Normalizer(model.feature_mean, model.feature_std).save(tmp_path)
    return tmp_path


def same(model, again) -> bool:
    own, got = model.state_dict(), again.state_dict()
    return own.keys() == got.keys() and all(torch.equal(own[key], got[key]) for key in own)


SIX = {"codes": 65536, "depth": 3}


@pytest.mark.parametrize("patcher", [True, False])
@pytest.mark.parametrize("shape", [{}, {"causal": True}, {"norm": None, "down": 2}, {"norm": "BN"}])
def test_files(shape: dict, patcher: bool, stats) -> None:
    model, file = tiny(**SIX, **shape), stats / "net_last.pth"
    state = {f"module.{key}": value for key, value in published(model, patcher).items()}
    torch.save({"net": state, "optimizer": {}, "nb_iter": 3}, file)
    again, coverage = import_fsq_ae(file, stats, as_published=True)
    assert same(model, again) and not coverage.missing and not coverage.unexpected
    assert coverage.ignored.total() == (4 if patcher else 0)
    frames = clip(31)[None]
    assert torch.equal(model.encode(frames, whole(frames))[0], again.encode(frames, whole(frames))[0])


def test_a_patch_above_one_is_found_and_its_method_asked_for(stats) -> None:
    model, file = tiny(**SIX, patch_size=4, patch_method="rearrange"), stats / "net.pth"
    torch.save(published(model, False, ""), file)
    with pytest.raises(CheckpointError, match="patch_method"):
        import_fsq_ae(file, stats, as_published=True)
    again, _ = import_fsq_ae(file, stats, ["patch_method=rearrange"], as_published=True)
    assert same(model, again) and again.layout.frames_per_token == 8


def test_what_shapes_do_not_tell_is_asked_for(stats) -> None:
    model, file = tiny(codes=512), stats / "net.pth"
    torch.save(published(model, True), file)
    with pytest.raises(CheckpointError, match="do not tell codes"):  # 3 levels: 256 or 512
        import_fsq_ae(file, stats, as_published=True)
    settings = ["codes=512", "activation=relu", "dilation_growth_rate=3"]
    with pytest.raises(CheckpointError, match="do not tell norm"):
        import_fsq_ae(file, stats, settings)
    assert same(model, import_fsq_ae(file, stats, [*settings, "norm=LN"])[0])
    free, _ = import_fsq_ae(file, stats, ["levels=[8,8,8]", *settings[1:], "norm=LN"])
    assert free.layout.codebook_size == 512


def test_a_package_describes_itself(stats, tmp_path, capsys) -> None:
    model, folder = tiny(codes=512, activation="silu"), tmp_path / "package"
    folder.mkdir()
    save_file(published(model, True), folder / "fsq.safetensors")
    told = {"nb_code": 512, "activation": "silu", "norm": "LN", "dilation_growth_rate": 3, "mu": 0.99}
    (folder / "mm_config.json").write_text(json.dumps({"config": {"vqvae": told, "ar": {}}}))
    Normalizer(model.feature_mean, model.feature_std).save(folder)
    command = ["fsq-ae", str(folder), str(tmp_path / "model"), "--stats", str(folder)]
    assert run_command(convert, command) == 0
    again = load_model(tmp_path / "model")
    assert same(model, again) and again.config.activation == "silu" and again.config.codes == 512
    assert "mm_config.json" in capsys.readouterr().out
    for content in ("[]", "[" * 100_000):
        (folder / "mm_config.json").write_text(content)
        with pytest.raises(CheckpointError, match="not the description of a MotionMillion package"):
            import_fsq_ae(folder, folder)


def test_files_that_do_not_fit(stats) -> None:
    file, state = stats / "net.pth", published(tiny(**SIX), True)
    cases = [
        ({key: value for key, value in state.items() if "decoder.model.5" not in key}, "2 missing"),
        ({**state, "vqvae.quantizer.codebook": torch.ones(4, 4)}, "1 unexpected: quantizer.codebook"),
        ({"trans.weight": torch.ones(2, 2)}, "no MotionMillion tokenizer"),
        ({**state, "vqvae.quantizer.project_in.weight": torch.ones(())}, r"project_in.weight has the shape \(\), exp"),
    ]
    for wrong, said in cases:
        torch.save(wrong, file)
        with pytest.raises(CheckpointError, match=said):
            import_fsq_ae(file, stats, as_published=True)


@pytest.mark.parametrize("shape", [
    {}, {"codes": 512, "norm": None, "activation": "gelu", "dilation_growth_rate": 2}, {"causal": True, "down": 2},
    {"levels": [5, 4, 3], "norm": "GN", "width": 32}, {"codes": 2048, "norm": "BN", "patch_size": 4},
    {"patch_size": 3, "patch_method": "rearrange", "causal": True},
])  # fmt: skip
def test_there_and_back_by_command(shape: dict, tmp_path, capsys) -> None:
    model, out = tiny(**shape), tmp_path / "published"
    folder = save_model(model, tmp_path / "model")
    assert run_command(convert, ["fsq-ae-export", str(folder), str(out)]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:4] == ["python", "-m", "prepare.convert", "fsq-ae"]
    assert run_command(convert, [*command[3:5], str(tmp_path / "again"), *command[6:]]) == 0
    again, frames = load_model(tmp_path / "again"), clip(37)[None]
    assert same(model, again) and again.layout == model.layout
    codes, kept = model.encode(frames, whole(frames))
    assert torch.equal(codes, again.encode(frames, whole(frames))[0])
    assert torch.equal(model.decode(codes, kept), again.decode(codes, kept))


def test_published_names_are_those_behind_a_patcher() -> None:
    model = tiny(**SIX)
    theirs, ours = published(model, True), published_state(model)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) for key in ours if ".wavelets" not in key)


def test_what_cannot_be_exported_says_why(tmp_path) -> None:
    folder = save_model(tiny(attention=True), tmp_path / "model")
    with pytest.raises(CheckpointError, match="attention in a tokenizer has no published names"):
        convert(["fsq-ae-export", str(folder), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
