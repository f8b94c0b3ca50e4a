"""Weights out of files: straight into the type that is wanted, rounded on the way, refused before memory runs out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from mld.checkpoint import load_model, open_model, save_model
from mld.errors import CheckpointError, ConfigError
from mld.models import loading, memory, quantization
from mld.models.contracts.network import Network
from mld.models.quantization import WEIGHTS, BFloat16Linear, Rounded, RoundedTable, round_weights, weight_bytes
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3
from tests.models.tiny_million import HashedWords, tiny_million
from tests.models.tiny_streamer import HashedText, tiny_streamer

ROUNDED = WEIGHTS[1:]
FAMILIES: dict[str, Callable[[], Network]] = {
    "t5": lambda: tiny_motiongpt("t5"), "gpt2": lambda: tiny_motiongpt("gpt2"), "motiongpt3": tiny_motiongpt3,
    "streamer": tiny_streamer, "million": tiny_million, "tied": lambda: tiny_million(tie_head=True),
}  # fmt: skip


@pytest.fixture
def known_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the tiny models name text encoders of the tests."""
    from mld.models import registry

    table = registry.FAMILIES["text_encoder"]
    monkeypatch.setitem(table, HashedWords.family, f"{HashedWords.__module__}:HashedWords")
    monkeypatch.setitem(table, HashedText.family, f"{HashedText.__module__}:HashedText")


def allocated(function: Callable[[], object]) -> tuple[int, int, object]:
    """The most bytes of tensors that a call had at once, those that it left, and its result. What lies in a mapped file
    takes none."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        result = function()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, now, result


def large() -> Network:
    return tiny_million(layers=3, width=256, heads=4)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_memory_holds_the_network_and_one_tensor(
    weights: str, tmp_path: Path, known_words: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "AT_ONCE", 2**14)  # for this network as 2**20 is for one of billions
    model = large()
    folder = save_model(model, tmp_path / "m", largest_file=1_500_000)
    largest = max(p.numel() * 4 for p in model.parameters())
    most, left, (loaded, _) = allocated(lambda: open_model(folder, weights=weights))
    buffers = sum(b.nbytes for b in loaded.tokenizer.buffers())
    expected = weight_bytes(model, weights)
    assert most <= 1.05 * expected + 2 * buffers + 1.1 * largest, (most, expected, largest)
    assert left <= 1.05 * expected + 2 * buffers
    if weights != "float32":
        assert expected < 0.6 * weight_bytes(model, "float32")


def test_straight_to_a_type(tmp_path: Path, known_words: None) -> None:
    model = large()
    folder, size = save_model(model, tmp_path / "m", largest_file=1_500_000), weight_bytes(model, "float32")
    largest = max(p.numel() * 4 for p in model.parameters())
    most, _, loaded = allocated(lambda: load_model(folder, dtype=torch.bfloat16))
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert most < 0.55 * size + largest


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("weights", ROUNDED)
@pytest.mark.parametrize("family", FAMILIES)
def test_rounded_while_loading_is_rounded_after_loading(
    family: str, weights: str, stored: str, tmp_path: Path, known_words: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, whatever is tied, transposed or has a bias, and in whatever file it lies."""
    monkeypatch.setattr(quantization, "LEAST", 16)
    folder = save_model(FAMILIES[family](), tmp_path / "m", dtype=stored, largest_file=30_000)
    assert len(list(folder.glob("*.safetensors"))) > 1
    found, told = open_model(folder, weights=weights)
    after = load_model(folder)
    assert told == round_weights(after, weights) and told.layers > 3
    ones, others = dict(found.named_modules()), dict(after.named_modules())
    assert ones.keys() == others.keys()
    for name, layer in others.items():
        assert type(ones[name]) is type(layer), name
        if isinstance(layer, Rounded) and not isinstance(layer, RoundedTable):
            x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(0))
            assert torch.equal(ones[name](x), layer(x)), name
    kept, same = dict(found.named_parameters()), dict(after.named_parameters())
    kept |= dict(found.named_buffers())
    same |= dict(after.named_buffers())
    assert kept.keys() == same.keys() and not any(value.is_meta for value in kept.values())
    assert all(torch.equal(kept[name], same[name]) for name in kept)


def test_a_layer_of_bfloat16() -> None:
    """Against the same in float64, rounded once at the end; bias and what is around the layer are float32."""
    torch.manual_seed(0)
    linear, x = nn.Linear(192, 100), torch.randn(7, 192) * torch.logspace(-3, 3, 7)[:, None]
    made = BFloat16Linear(linear.weight.detach(), linear.bias.detach())
    product = x.bfloat16().double() @ linear.weight.detach().bfloat16().double().t()
    out = made(x)
    assert out.dtype == torch.float32
    assert ((out - linear.bias - product).abs() <= 2.0**-8 * product.abs() + 2e-6 * x.norm(dim=1)[:, None]).all()
    torch.testing.assert_close(out[:1], made(x[:1]), rtol=2.0**-7, atol=1e-6)


@pytest.mark.parametrize("weights", ROUNDED)
@pytest.mark.parametrize("family", ["million", "tied"])
def test_codes_follow_those_of_float32(
    family: str, weights: str, known_words: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits behind one history, tables halved too; keys and values are kept in the layers' precision."""
    monkeypatch.setattr(quantization, "LEAST", 16)

    def logits(weights: str) -> tuple[torch.Tensor, torch.dtype]:
        model = FAMILIES[family]()
        round_weights(model, weights)
        decoding = model.start([model.prompt((), "motion")], "motion", [12])
        codes = torch.arange(12) % 30
        rows = [decoding.steps.step(None), *(decoding.steps.step(code[None]) for code in codes)]
        return torch.cat(rows), decoding.steps.cache.room.dtype

    (exact, _), (found, kind) = logits("float32"), logits(weights)
    assert kind == (torch.bfloat16 if weights == "bfloat16" else torch.float32)
    most = {"float16": 2e-3, "bfloat16": 0.02, "int8": 0.05}[weights]
    assert 0 < (found - exact).norm() / exact.norm() < most


def test_what_takes_too_much_memory_is_told_before_it_is_read(
    tmp_path: Path, known_words: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = large()
    folder = save_model(model, tmp_path / "m")
    needed = {weights: weight_bytes(model, weights) for weights in WEIGHTS}
    read = []
    monkeypatch.setattr(loading, "_tensors", lambda file: read.append(file) or iter(()))
    monkeypatch.setattr(memory, "free_memory", lambda device: needed["bfloat16"] + 1000)
    with pytest.raises(CheckpointError, match=r"float32 weights take .* GiB, .* are free on cpu; --weights") as told:
        open_model(folder)
    assert "--weights float16 takes" in str(told.value) and len(str(told.value)) < 300
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    with pytest.raises(CheckpointError, match="int8 weights take .* none of them fits here"):
        open_model(folder, weights="int8")
    assert not read


def test_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    group.mkdir()
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CGROUP", group)
    assert memory.free_memory("cpu") is None and memory.free_memory("meta") is None
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:  100 kB\nSwapFree: 20 kB\n")
    assert memory.free_memory("cpu") == 120 * 1024
    (group / "memory.max").write_text("max\n")
    assert memory.free_memory("cpu") == 120 * 1024
    for name, content in (("memory.max", "90000"), ("memory.current", "50000"), ("memory.stat", "anon 1\nfile 3000\n")):
        (group / name).write_text(content)
    assert memory.free_memory("cpu") == 43_000


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_checkpoint_of_another_size(weights: str, tmp_path: Path, known_words: None) -> None:
    folder = save_model(tiny_million(), tmp_path / "m")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["config"]["width"] = 64
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError, match=r"embed.weight has shape \(32, 32\) instead of \(32, 64\)") as told:
        open_model(folder, weights=weights)
    assert "model.safetensors: does not fit MotionMillion" in str(told.value)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_numbers_that_are_none_are_refused_while_loading(weights: str, tmp_path: Path, known_words: None) -> None:
    folder = save_model(large(), tmp_path / "m")
    state = load_file(folder / "model.safetensors")
    state["transformer.h.1.mlp.c_fc1.weight"][3, 5] = torch.nan
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="h.1.mlp.c_fc1.weight holds NaN or infinite numbers"):
        open_model(folder, weights=weights)


def test_unknown_weights_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'int4' is not one of float32, float16, bfloat16, int8"):
        open_model(tmp_path, weights="int4")


def test_a_network_without_weights_is_not_filled() -> None:
    """Parameters on the meta device stay untouched, and torch's compiler, which fills them, stays out; tensors with
    memory are filled as always."""
    code = """
import sys, torch
from torch import nn
from mld.models.loading import without_weights
with without_weights():
    made = nn.ModuleList([nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(4), nn.Conv1d(2, 3, 3)])
    own = nn.init.normal_(torch.zeros(50))
    kept = torch.empty(50, device="meta").normal_()
assert {parameter.device.type for parameter in made.parameters()} == {"meta"} and kept.device.type == "meta"
assert own.std() > 0.5
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
assert nn.init.normal_(torch.zeros(50)).std() > 0.5
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
