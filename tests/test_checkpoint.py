"""Model folders: round trip, half precision, atomic writing, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mld.checkpoint import load_model, resolve_folder, save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import CheckpointError, MldError
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from tests.models.tiny import examples, features, tiny_motiongpt, tiny_vqvae


def test_tokenizer_round_trip(tmp_path) -> None:
    model = tiny_vqvae()
    twin = load_model(save_model(model, tmp_path / "a"))
    x, mask = features(33)[None], torch.ones(1, 33, dtype=torch.bool)
    codes, kept = model.encode(x, mask)
    assert torch.equal(twin.encode(x, mask)[0], codes)
    assert torch.equal(twin.decode(codes, kept), model.decode(codes, kept))
    assert twin.config == model.config and not twin.training


@pytest.mark.parametrize("backbone", ["t5", "gpt2"])
def test_model_round_trip(backbone: str, tmp_path) -> None:
    """The folder alone gives the same answers and the same loss."""
    model = tiny_motiongpt(backbone, legacy_token_lengths=True)
    pipeline = Pipeline.load(save_model(model, tmp_path / "m"))
    assert pipeline.model.config == model.config
    assert pipeline.model.loss(examples()) == model.loss(examples())
    requests = [Request(example.prompt, output, seed=3) for example in examples()[:2] for output in ("motion", "text")]
    for ours, theirs in zip(Pipeline(model).run(requests), pipeline.run(requests)):
        assert ours.text == theirs.text
        assert ours.motion is theirs.motion is None or torch.equal(ours.motion.joints, theirs.motion.joints)


def test_head_and_embedding_stay_two(tmp_path) -> None:
    model = tiny_motiongpt("t5")
    loaded = load_model(save_model(model, tmp_path / "m"))
    assert torch.equal(loaded.lm.lm_head.weight, model.lm.lm_head.weight)
    assert torch.equal(loaded.lm.shared.weight, model.lm.shared.weight)
    assert (loaded.lm.lm_head.weight - loaded.lm.shared.weight).abs().max() > 0.1
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert "lm.encoder.embed_tokens.weight" not in stored, "a tensor with two names is stored once"


@pytest.mark.parametrize("backbone", ["t5", "gpt2"])
def test_a_loaded_network_is_whole_and_shares_what_it_shared(backbone: str, tmp_path) -> None:
    """Parameters are made without memory and replaced: none may be forgotten, none that were one become two."""
    model = tiny_motiongpt(backbone)
    loaded = load_model(save_model(model, tmp_path / "m"))
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]
    for (name, ours), (_, theirs) in zip(model.named_buffers(), loaded.named_buffers(), strict=True):
        assert torch.equal(ours, theirs), name
    if backbone == "t5":
        assert loaded.lm.encoder.embed_tokens.weight is loaded.lm.shared.weight


def test_large_weights_are_in_several_files(tmp_path) -> None:
    model = tiny_motiongpt()
    whole, parts = save_model(model, tmp_path / "a"), save_model(model, tmp_path / "b", largest_file=10_000)
    names = sorted(path.name for path in parts.glob("*.safetensors"))
    assert len(names) > 2 and names[0] == f"model-00001-of-{len(names):05d}.safetensors"
    index = json.loads((parts / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == names
    assert index["weight_map"].keys() == load_file(whole / "model.safetensors").keys()
    for one, other in zip(load_model(whole).state_dict().items(), load_model(parts).state_dict().items(), strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1])
    (parts / names[1]).unlink()
    with pytest.raises(CheckpointError, match=f"{names[1]}: missing"):
        load_model(parts)
    (parts / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not an index of weights"):
        load_model(parts)


def test_a_model_of_bfloat16_computes_under_autocast(tmp_path) -> None:
    model = tiny_vqvae()
    loaded = load_model(save_model(model, tmp_path / "a"), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.feature_std.dtype == torch.float32 and torch.equal(loaded.feature_std, model.feature_std)
    x, mask = features(33)[None], torch.ones(1, 33, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        assert loaded.encode(x, mask)[0].shape == (1, 8)
    assert load_model(tmp_path / "a", device="meta").feature_mean.is_meta


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_holds_weights_once(tmp_path) -> None:
    """Loading needs no second copy: measured in a process of its own."""
    model = VQVAE(VQVAEConfig(width=1024))  # some 200 MB
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    folder = save_model(model, tmp_path / "a", largest_file=size // 3)
    code = f"""
import re
from pathlib import Path
from mld.checkpoint import load_model
from mld.models.tokenizers.vqvae import VQVAE

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
network = load_model({str(folder)!r})
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 100e6 < 0.9 * size < 1024 * int(done.stdout) < 1.7 * size


def test_folders_of_the_first_format_are_read(tmp_path) -> None:
    """There a generator was a "model" with its tokenizer in its config; many were handed on."""
    model = tiny_motiongpt()
    config = save_model(model, tmp_path / "m") / "config.yaml"
    told = yaml.safe_load(config.read_text())
    told["config"]["tokenizer"] = told.pop("parts")["tokenizer"]
    config.write_text(yaml.safe_dump({**told, "format": 1, "kind": "model"}))
    loaded = load_model(tmp_path / "m")
    assert loaded.describe() == model.describe()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_half_precision_keeps_statistics(tmp_path) -> None:
    model = tiny_motiongpt()
    save_model(model, tmp_path / "m", dtype="float16")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert stored["lm.shared.weight"].dtype == torch.float16
    assert torch.equal(stored["tokenizer.feature_std"], model.tokenizer.feature_std)
    loaded = load_model(tmp_path / "m")
    assert loaded.lm.shared.weight.dtype == torch.float32
    assert Pipeline(loaded).generate("a person walks", seconds=1).num_frames == 20


def test_provenance(tmp_path) -> None:
    save_model(tiny_vqvae(), tmp_path / "a", {"data_hash": "abc", "licence": "MIT"})
    origin = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert origin["data_hash"] == "abc" and origin["licence"] == "MIT"
    assert origin["parameters"] > 1000 and len(origin["config_hash"]) == 16 and "git_sha" in origin


def test_a_failed_write_leaves_the_old_folder(tmp_path, monkeypatch) -> None:
    model = tiny_vqvae()
    save_model(model, tmp_path / "a", {"note": "old"})

    def broken(folder) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(model, "save_assets", broken)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, tmp_path / "a", {"note": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "nothing half-written stays behind"
    assert json.loads((tmp_path / "a" / "provenance.json").read_text())["note"] == "old"
    load_model(tmp_path / "a")


@pytest.fixture
def folder(tmp_path):
    return save_model(tiny_vqvae(), tmp_path / "a")


def weights_with(folder, change) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def config_with(folder, change) -> None:
    content = yaml.safe_load((folder / "config.yaml").read_text())
    change(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


DAMAGE = {
    "config.yaml is missing": lambda f: (f / "config.yaml").unlink(),
    "not readable as YAML": lambda f: (f / "config.yaml").write_text("a: [1"),
    "not a model config": lambda f: (f / "config.yaml").write_text("- 1"),
    "'vqvea'; did you mean 'vqvae'": lambda f: config_with(f, lambda c: c.update(family="vqvea")),
    "widht": lambda f: config_with(f, lambda c: c["config"].update(widht=3)),
    "lacks config": lambda f: config_with(f, lambda c: c.pop("config")),
    "model.safetensors: missing": lambda f: (f / "model.safetensors").unlink(),
    "git lfs pull": lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
    "damaged": lambda f: (f / "model.safetensors").write_bytes(b"\x08" * 100),
    "missing quantizer.codebook": lambda f: weights_with(f, lambda s: s.pop("quantizer.codebook")),
    "unexpected more": lambda f: weights_with(f, lambda s: s.update(more=torch.ones(2))),
    "shape": lambda f: weights_with(f, lambda s: s.update({"quantizer.codebook": torch.ones(2, 2)})),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_named(folder, message: str) -> None:
    DAMAGE[message](folder)
    with pytest.raises(MldError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_wrong_names(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no such model folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="dtype"):
        save_model(tiny_vqvae(), tmp_path / "a", dtype="float8")
    with pytest.raises(CheckpointError, match="holds a tokenizer"):
        Pipeline.load(save_model(tiny_vqvae(), tmp_path / "a"))


def test_a_text_tokenizer_that_is_gone_is_named(tmp_path) -> None:
    save_model(tiny_motiongpt(), tmp_path / "m")
    (tmp_path / "m" / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer_config.json"):
        load_model(tmp_path / "m")


EDITS = {
    "lacks family": lambda c: c.pop("family"),
    "kind is": lambda c: c.update(kind=[3]),
    "config is": lambda c: c.update(config=3),
    "parts is": lambda c: c.update(parts=[1]),
    "part 'tokenizer' of the generator is not described": lambda c: c.update(parts={}),
    "has no part 'ears'": lambda c: c["parts"].update(ears=c["parts"]["tokenizer"]),
    "parts.tokenizer: 'vqvae' does not describe": lambda c: c["parts"].update(tokenizer="vqvae"),
    "parts.tokenizer: lacks config": lambda c: c["parts"]["tokenizer"].pop("config"),
    "parts.tokenizer is a generator, a tokenizer is needed": lambda c: c["parts"]["tokenizer"].update(kind="generator"),
    "no tokenizer family 'vqave'; did you mean 'vqvae'": lambda c: c["parts"]["tokenizer"].update(family="vqave"),
    "no kind of network 'singer'": lambda c: c.update(kind="singer"),
    "unknown key 'quote_probabilty'": lambda c: c["config"].update(quote_probabilty=1),
}


@pytest.mark.parametrize("message", EDITS)
def test_an_edited_description_is_told_in_one_line(message: str, tmp_path) -> None:
    folder = save_model(tiny_motiongpt(), tmp_path / "m")
    content = yaml.safe_load((folder / "config.yaml").read_text())
    EDITS[message](content)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value) and str(folder / "config.yaml") in str(caught.value)


@pytest.mark.parametrize("name", ["motiongpt", "motiongpt3", "tmr", "guo"])
def test_bundled_models_have_names(name: str, tmp_path: Path, monkeypatch) -> None:
    """From any folder; a folder of the user with that name goes first."""
    monkeypatch.chdir(tmp_path)
    assert (resolve_folder(name) / "model.safetensors").is_file()
    (tmp_path / name).mkdir()
    assert resolve_folder(name) == Path(name)


def test_a_name_that_is_none_lists_those_that_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="bundled model of that name: .*motiongpt3"):
        resolve_folder("motiongtp3")


def test_weights_that_are_a_web_page_are_told(tmp_path) -> None:
    from tests.models.tiny import tiny_vqvae

    folder = save_model(tiny_vqvae(), tmp_path / "it", {})
    (folder / "model.safetensors").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(CheckpointError, match="model.safetensors: a web page, not the weights; download"):
        load_model(folder)
