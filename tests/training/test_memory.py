"""What a dry run says of memory, beside what training really keeps; activation checkpointing; optimizers by device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from mld.errors import ConfigError
from mld.example import Clip, Example, Text
from mld.models.families.motionmillion.memory import activation_bytes
from mld.training.activation_checkpointing import checkpoint_units
from mld.training.dry_run import describe_runs, untrained
from mld.training.memory import GB, needed, optimizer_numbers
from mld.training.networks import count_parameters
from mld.training.optimization import fused, make_optimizer_of
from mld.training.parallel import units
from mld.training.run_config import OptimizerConfig, load_runs
from mld.training.stages import run_stages
from tests.models.tiny import tiny_vqvae
from tests.models.tiny_million import CODES, HashedWords, tiny_codes, tiny_million
from tests.training.test_motionmillion_configs import CONFIGS

SIZES = {"layers": 4, "width": 64, "heads": 4, "positions": 80, "longest_text": 24}
AGAIN = "training.activation_checkpointing=true"
COUNT, LENGTH, BATCH = 40, 24, 8


def batch() -> list[Example]:
    text = Text(" ".join(f"w{i}" for i in range(LENGTH - 1)))
    clip = Clip(features=torch.zeros(2 * COUNT, 272), tokens=torch.arange(COUNT) % CODES)
    return [Example((text,), (clip,), 2 * COUNT, "x") for _ in range(BATCH)]


def kept(again: bool, half: bool) -> tuple[int, int]:
    """Bytes that a loss keeps for the backward pass besides weights, and of copies of weights in half precision."""
    model = tiny_million(**SIZES).train()
    model.transformer.masks_prefix = False  # as on a GPU
    if again:
        checkpoint_units(model)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    tables = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    shapes = {tuple(table.shape) for table in tables} | {tuple(table.t().shape) for table in tables}
    seen: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", enabled=half):
        model.loss(batch())["code_loss"]
    sizes = {place: tensor.untyped_storage().nbytes() for place, tensor in seen.items() if place not in own}
    copies = sum(sizes[place] for place in sizes if tuple(seen[place].shape) in shapes)
    return sum(sizes.values()) - copies, copies


@pytest.mark.parametrize("half", [False, True])
def test_activations_are_what_a_formula_says(half: bool) -> None:
    """Within a quarter, below: the CPU's norms keep a number more for each of theirs than those of a GPU."""
    plain, twice = kept(False, half)[0], kept(True, half)[0]
    model = tiny_million(**SIZES)
    assert model.activation_bytes(BATCH, 2 * COUNT, half, False) == formula(model, half, False)
    gradients = BATCH * (COUNT + 1) * (CODES + 1) * (6 if half else 4)
    ratios = [
        (formula(model, half, False) - gradients) / plain,
        (formula(model, half, True) - gradients) / (twice + (plain - twice) / SIZES["layers"]),
    ]
    assert all(0.75 < ratio <= 1.02 for ratio in ratios), ratios
    assert twice < 0.2 * plain


def formula(model, half: bool, again: bool) -> int:
    return activation_bytes(model.config, COUNT, CODES + 1, HashedWords.width, BATCH, half, again)


def test_a_dry_run_tells_what_fits_and_what_would() -> None:
    def lines(name: str, more: Sequence[str] = ()) -> list[str]:
        file = CONFIGS / "motionmillion" / f"t2m_{name}.yaml"
        return describe_runs(load_runs(file, ["data.root=anywhere", "output=nowhere", *more]), file)[0]

    small = lines("44M")
    assert "11.35 M of them in the frozen tokenizer" in small[0], "the tokenizer's config stands beside"
    assert small[1].startswith("memory of each device (auto on 1 device, bf16-mixed, batch 16): ")
    assert "text encoder, 4.89 GB" in small[2] and small[3] == "fits 24 GB"
    large = lines("7B", ["training.parallel.device_memory=40", "training.parallel.devices=2"])
    assert large[3] == (
        "does not fit 40 GB: most is activations, 32.57 GB; take training.activation_checkpointing=true and"
        " training.parallel.strategy=fsdp2 and 8 devices"
    )
    assert lines("7B", ["training.parallel.devices=8"])[3] == "fits 80 GB, not 24 or 40 GB"


def test_a_generator_reads_whole_clips_whatever_the_window_of_tokenizers_is() -> None:
    file = CONFIGS / "motionmillion" / "t2m_44M.yaml"
    found = []
    for change in ("data.window=16", "data.window=null", "data.max_frames=100"):
        (run,) = load_runs(file, ["data.root=x", change])
        found.append(needed(run, untrained(run, {Path(run.init_from): tiny_codes()})).activations)
    assert found[0] == found[1] > found[2]


def test_what_is_kept_of_weights_is_counted_exactly() -> None:
    changes = ["data.root=x", "training.ema=0.9", "training.parallel.precision=32-true"]
    (run,) = load_runs(CONFIGS / "motionmillion" / "t2m_44M.yaml", changes)
    network = untrained(run, {Path(run.init_from): tiny_codes()})
    total, frozen = count_parameters(network)
    memory, count = needed(run, network), total - frozen
    assert (memory.weights, memory.gradients, memory.optimizer, memory.averages) == (
        4 * count, 4 * count, 8 * count, 4 * count
    )  # fmt: skip
    assert memory.gathered == 0 and memory.frozen == 4 * frozen and memory.total > 20 * count
    kinds = {"SGD": 0, "Adam": 2, "RMSprop": 1, "Adafactor": 0}
    found = {name: round(optimizer_numbers(OptimizerConfig(name, {"lr": 0.1}))) for name in kinds}
    assert found == kinds and GB == 1e9


def test_muon_keeps_a_moment_of_matrices_and_makes_their_steps_all_at_once() -> None:
    (run,) = load_runs(CONFIGS / "motionmillion" / "t2m_44M.yaml", ["data.root=x", "training.optimizer.name=Muon"])
    network = untrained(run, {Path(run.init_from): tiny_codes()})
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = sum(p.numel() for p in trained if p.ndim > 1 and min(p.shape[0], p[0].numel()) >= 16)
    count = sum(p.numel() for p in trained)
    assert 0.9 * count < matrices < count
    assert abs(needed(run, network).optimizer / 4 - (3 * matrices + 2 * (count - matrices))) < count


def test_units_that_compute_twice_learn_the_same(configs) -> None:
    short = ["training.max_steps=3", "training.samples=0"]
    tokenizer = run_stages(load_runs(configs / "tokenizer.yaml", short))[0]
    settings = [f"init_from={tokenizer}", *short, "training.compile=false"]
    found = []
    for name, more in {"plain": [], "twice": [AGAIN]}.items():
        folder = run_stages(load_runs(configs / "million.yaml", [*settings, f"name={name}", *more]))[0]
        found.append(load_file(folder / "model.safetensors"))
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_what_changes_by_computing_is_not_computed_twice() -> None:
    network = tiny_vqvae()
    for unit in units(network):
        unit.register_buffer("seen", torch.zeros(1))
    with pytest.raises(ConfigError, match="activation_checkpointing: VQVAE has no units that may compute twice"):
        checkpoint_units(network)


def test_one_kernel_for_a_step_where_the_device_has_one() -> None:
    def on(device: str, floating: bool = True) -> list[dict]:
        stand_in = SimpleNamespace(device=torch.device(device), is_floating_point=lambda: floating)
        return [{"params": [stand_in]}]

    adam = OptimizerConfig("AdamW", {"lr": 0.1})
    assert fused(on("cuda"), adam) == {"fused": True}
    assert fused(on("cpu"), adam) == fused([*on("cuda"), *on("cpu")], adam) == {"fused": True}
    assert fused(on("mps"), adam) == fused([*on("cpu"), *on("mps")], adam) == fused(on("cpu", False), adam) == {}
    assert fused(on("cuda"), adam, "16-mixed") == fused(on("cpu"), adam, "16-mixed") == {}
    assert fused(on("cpu"), OptimizerConfig("AdamW", {"fused": False})) == {}
    assert fused(on("cuda"), OptimizerConfig("AdamW", {"foreach": True})) == {}
    assert fused(on("cuda"), OptimizerConfig("Rprop", {})) == {}


def test_the_fused_step_is_that_of_the_loop() -> None:
    """On the CPU, in groups with settings of their own, with a parameter that has no gradient and one in half
    precision."""
    torch.manual_seed(5)
    weights = [torch.randn(31, 7), torch.randn(9), torch.randn(3), torch.randn(8).half()]
    found = []
    for params in ({"lr": 0.1}, {"lr": 0.1, "fused": False}):
        own = [torch.nn.Parameter(weight.clone()) for weight in weights]
        groups = [{"params": own[:2]}, {"params": own[2:], "weight_decay": 0.5}]
        optimizer = make_optimizer_of(groups, OptimizerConfig("AdamW", params))
        assert optimizer.param_groups[1]["fused"] is params.get("fused", True)
        for step in range(3):
            for place, weight in enumerate(own[:2] + own[3:]):
                weight.grad = (weights[0].flatten()[: weight.numel()] * (step + place)).reshape(weight.shape).to(weight)
            optimizer.step()
        found.append(own)
    for one, other, before in zip(*found, weights):
        torch.testing.assert_close(one, other, atol=2e-3 if one.dtype == torch.float16 else 1e-6, rtol=1e-5)
        assert one.grad is None or not torch.equal(one, before)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_gradients_are_clipped_before_a_fused_step_in_half_precision(configs, precision) -> None:
    settings = [f"training.parallel.precision={precision}", "training.gradient_clip=0.01", "training.max_steps=2"]
    (folder,) = run_stages(load_runs(configs / "tokenizer.yaml", [*settings, "training.samples=0"]))
    groups = torch.load(folder.parent / "checkpoints" / "last.ckpt")["optimizer_states"][0]["param_groups"]
    assert all(group["fused"] for group in groups)


def test_a_dry_run_of_several_stages_reads_the_width_of_a_small_text_encoder() -> None:
    runs = load_runs(CONFIGS / "quickstart" / "motionmillion_all.yaml", ["output=nowhere"])
    tokenizer, model = describe_runs(runs)
    assert tokenizer[1].endswith("activations not known") and tokenizer[-1] == model[-1] == "fits 24 GB"
    assert "activations 88.9 MB" in model[1] and "text encoder, 90.9 MB" in model[2]
