"""What makes large networks affordable changes nothing else: compiled units, half precision, knowing the progress."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from mld.checkpoint import load_model
from mld.models.tokenizers.vqvae import VQVAE
from mld.training import stages
from mld.training.compiling import compile_units
from mld.training.parallel import to_half, units
from mld.training.run_config import load_runs
from mld.training.stages import run_stages
from tests.models.tiny import tiny_motiongpt, tiny_vqvae


def test_units_are_those_of_the_outermost_lists_or_of_the_named_classes(monkeypatch):
    model = tiny_motiongpt("t5")
    model.tokenizer.requires_grad_(False)
    blocks = [*model.lm.encoder.block, *model.lm.decoder.block]
    assert units(model) == blocks, "not the frozen tokenizer, and not the lists within a block"
    monkeypatch.setattr(type(model), "shard_units", (type(blocks[0].layer[0]),), raising=False)
    assert units(model) == [block.layer[0] for block in blocks]


def test_compiled_units_keep_names_and_numbers(configs, tmp_path, monkeypatch):
    """The eager backend traces as every other does, and needs no compiler."""
    compiled = []

    def compile_eagerly(network, mode):
        compile_units(network, mode, backend="eager")
        compiled.extend(unit for unit in units(network) if unit._compiled_call_impl is not None)

    monkeypatch.setattr(stages, "compile_units", compile_eagerly)
    folders = []
    for name, compiling in {"plain": "false", "compiled": "true"}.items():
        settings = [f"output={tmp_path / name}", f"training.compile={compiling}", "training.ema=0.9"]
        folders += run_stages(load_runs(configs / "tokenizer.yaml", [*settings, "training.max_steps=2"]))
    assert compiled
    plain, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert plain.keys() == other.keys()
    for key, value in plain.items():
        torch.testing.assert_close(other[key], value, rtol=1e-4, atol=1e-5)


def test_half_precision_is_trained_and_exported_in_float32(configs):
    runs = load_runs(configs / "tokenizer.yaml", ["training.parallel.precision=bf16-true", "training.ema=0.9"])
    folder = run_stages(runs)[0]
    state = torch.load(runs[0].folder / "checkpoints" / "last.ckpt", weights_only=True)
    kinds = {key: value.dtype for key, value in state["state_dict"].items()}
    assert kinds["network.encoder.model.0.weight"] == torch.bfloat16
    assert kinds["network.feature_std"] == kinds["network.quantizer.code_sum"] == torch.float32
    averages = state["averaged"]["averages"]
    assert all(value.dtype == torch.float32 for value in averages.values())
    assert not torch.equal(averages["encoder.model.0.weight"], averages["encoder.model.0.weight"].bfloat16().float())
    assert load_model(folder).encoder.model[0].weight.dtype == torch.float32


def test_a_frozen_tokenizer_keeps_its_precision():
    model = tiny_motiongpt("t5")
    model.tokenizer.requires_grad_(False)
    to_half(model)
    assert {p.dtype for p in model.tokenizer.parameters()} == {torch.float32}
    assert {p.dtype for p in model.lm.parameters()} == {torch.bfloat16}
    network = tiny_vqvae()
    to_half(network)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_losses_know_how_far_training_is(configs, monkeypatch):
    seen = {True: [], False: []}
    original = VQVAE.loss

    def loss(self, batch, progress=0.0):
        seen[self.training].append(progress)
        return original(self, batch, progress)

    monkeypatch.setattr(VQVAE, "loss", loss)
    run_stages(load_runs(configs / "tokenizer.yaml", ["training.accumulate=2", "training.samples=0"]))
    steps = [step / 6 for step in range(6) for _ in range(2)]
    assert seen[True] == pytest.approx(steps)
    assert sorted(set(seen[False])) == pytest.approx([2 / 6, 4 / 6, 1])
