"""The two-branch GPT-2: its text branch is the GPT-2 it came from; routing, cache, padding and start points."""

from __future__ import annotations

import json

import pytest
import torch

from mld.errors import CheckpointError, ConfigError, RequestError
from mld.models.backbones.mot_attention import shared_layers
from mld.models.backbones.mot_gpt2 import MoTGPT2
from mld.models.backbones.text_tokenizer import load_text_tokenizer, train_text_tokenizer
from mld.models.families.motiongpt3.start_point import (
    load_start_point,
    with_copies,
    without_copies,
    write_start_point,
)

TEXT, WIDTH, LAYERS = 50, 32, 3
MODES = [("all", "bias"), ("last1", "bias"), ("None", "bias"), ("first1", "masked")]


def tiny(mode: str = "all", foreign: str = "bias", seed: int = 0, **sizes) -> MoTGPT2:
    torch.manual_seed(seed)
    sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 40, **sizes}
    model = MoTGPT2(MoTGPT2.complete({**sizes, "attention_mode": mode, "foreign_keys": foreign}, TEXT, TEXT - 1))
    for weight in model.parameters():  # biases matter where layers are not shared
        weight.data.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def batch(length: int = 14, rows: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings, types and mask; rows of different lengths, padded on the right with text."""
    g = torch.Generator().manual_seed(seed)
    types = torch.randint(0, 2, (rows, length), generator=g)
    mask = torch.arange(length) < torch.tensor([length, length - 3, length - 6])[:rows, None]
    return torch.randn(rows, length, WIDTH, generator=g), types * mask, mask


@pytest.fixture(scope="module")
def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(vocab_size=TEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=40, eos_token_id=TEXT - 1)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def gpt2_folder(gpt2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    gpt2.save_pretrained(folder)
    return folder


@torch.no_grad()
def test_text_logits_are_those_of_the_gpt2(gpt2, gpt2_folder) -> None:
    model = load_start_point(gpt2_folder).eval()
    ids = torch.randint(0, TEXT, (3, 12))
    mask = torch.ones_like(ids).bool()
    mask[1, 8:] = False
    want = gpt2(ids, attention_mask=mask.long()).logits[mask]
    for types in (0, torch.zeros_like(ids)):
        got = model.text_logits(model(model.embed(ids, types), types, mask))[mask]
        torch.testing.assert_close(got, want, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("mode", "foreign"), MODES)
@torch.no_grad()
def test_cached_steps_equal_one_pass(mode: str, foreign: str) -> None:
    model = tiny(mode, foreign)
    x, types, _ = batch()
    mask = torch.ones_like(types).bool()
    mask[1, :3] = False  # padding on the left
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    whole = model(x, types, mask, positions)
    cache = model.new_cache()
    parts, start = [], 0
    for stop in (5, 6, 10, 14):  # several at once over a past, too
        span = slice(start, stop)
        parts.append(model(x[:, span], types[:, span], mask[:, :stop], positions[:, span], cache))
        start = stop
    torch.testing.assert_close(torch.cat(parts, 1)[mask], whole[mask], atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_cache_drops_rows_and_grows() -> None:
    model = tiny("last2", n_positions=100)
    x, types, _ = batch(80)
    mask = torch.ones_like(types).bool()
    cache = model.new_cache()
    model(x[:, :60], types[:, :60], mask[:, :60], cache=cache)
    rows = torch.tensor([2, 0])
    cache.keep(rows)
    for i in range(60, 80):
        last = model(x[rows, i : i + 1], types[rows, i : i + 1], mask[rows, : i + 1], cache=cache)
    torch.testing.assert_close(last[:, 0], model(x, types, mask)[rows, -1], atol=2e-6, rtol=1e-5)
    assert cache.length == 80
    assert cache.layers[0].keys.shape == cache.layers[0].values.shape == (2, 4, 80, WIDTH // 4)


@pytest.mark.parametrize(("mode", "foreign"), MODES)
@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch(mode: str, foreign: str) -> None:
    model = tiny(mode, foreign)
    x, types, mask = batch()
    together = model(x, types, mask)
    for i, length in enumerate(mask.sum(1).tolist()):
        alone = model(x[i : i + 1, :length], types[i : i + 1, :length], mask[i : i + 1, :length])
        torch.testing.assert_close(alone[0], together[i, :length], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("mode", "foreign"), MODES)
def test_padding_that_is_not_computed(mode: str, foreign: str) -> None:
    """Type -1 leaves real positions as they are, gives zeros and finite gradients."""
    model = tiny(mode, foreign)
    x, types, mask = batch()
    hidden = model(x, types.masked_fill(~mask, -1), mask)
    torch.testing.assert_close(hidden[mask], model(x, types, mask)[mask], atol=2e-6, rtol=1e-5)
    assert not hidden[~mask].any()
    hidden.square().sum().backward()
    gradients = [p.grad for name, p in model.named_parameters() if ".h." in name]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def naive_apart(model: MoTGPT2, x: torch.Tensor, types: torch.Tensor, modality: int) -> torch.Tensor:
    """One row of one modality in a model without shared layers, as the spec tells it: at positions of the other
    modality the norms give zeros, everything else happens everywhere."""
    h = x + model.transformer["wpe"].weight[: len(x)]
    own = (types == modality)[:, None]
    causal = torch.ones(len(x), len(x)).tril().bool()
    for block in model.transformer["h"]:
        q, k, v = (
            part.unflatten(-1, (4, -1)).transpose(0, 1)
            for part in block.c_attn.fn[modality](block.ln_1.fn[modality](h) * own).chunk(3, -1)
        )
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).masked_fill(~causal, -torch.inf).softmax(-1)
        h = h + block.c_proj.fn[modality]((weights @ v).transpose(0, 1).flatten(1))
        h = h + block.mlp.fn[modality](block.ln_2.fn[modality](h) * own)
    return model.transformer["ln_f"].fn[modality](h) * own


@torch.no_grad()
def test_foreign_keys_are_biases_in_layers_that_are_not_shared() -> None:
    model = tiny("None")
    x, types, _ = batch(rows=1)
    got = model(x, types, torch.ones_like(types).bool())[0]
    want = sum(naive_apart(model, x[0], types[0], m) for m in (0, 1))
    torch.testing.assert_close(got, want, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_masked_foreign_keys_are_not_seen() -> None:
    model = tiny("None", "masked")
    x, types, mask = batch()
    other = torch.where((types == 1)[..., None], torch.randn_like(x), x)
    text = (types == 0) & mask
    torch.testing.assert_close(model(other, types, mask)[text], model(x, types, mask)[text])
    shared = tiny("all")
    assert not torch.allclose(shared(other, types, mask)[text], shared(x, types, mask)[text], atol=1e-3)


@pytest.mark.parametrize("mode", ["all", "halfB"])
def test_gradient_checkpointing_gives_equal_gradients(mode: str) -> None:
    x, types, mask = batch()
    found = []
    for checkpointing in (False, True):
        model = tiny(mode).train()
        model.gradient_checkpointing = checkpointing
        torch.manual_seed(5)  # the same dropout
        model(x, types, mask)[mask].pow(3).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


def test_a_text_batch_gives_motion_no_gradient() -> None:
    model = tiny()
    ids, types = torch.randint(0, TEXT, (2, 9)), torch.zeros(2, 9, dtype=torch.long)
    model.text_logits(model(model.embed(ids, types), types, types == 0)).logsumexp(-1).sum().backward()
    for name, p in model.named_parameters():
        if ".fn.1." in name:
            assert not p.grad.any(), name
        elif ".fn.0." in name:
            assert p.grad.any(), name


@torch.no_grad()
def test_initialisation_is_the_published_one() -> None:
    torch.manual_seed(0)
    model = MoTGPT2(MoTGPT2.complete({"n_embd": 128, "n_layer": 8}, 200, 0))
    block, table = model.transformer["h"][3], model.pre_processors["1"].weight
    for m in (0, 1):
        assert block.c_attn.fn[m].weight.std() == pytest.approx(0.02, rel=0.05)
        assert block.c_proj.fn[m].weight.std() == pytest.approx(0.02, rel=0.05)
        assert block.mlp.fn[m].c_proj.weight.std() == pytest.approx(0.005, rel=0.05)
        assert not block.mlp.fn[m].c_proj.bias.any() and torch.all(block.ln_2.fn[m].weight == 1)
    assert table[[0, 2, 3, 4, 5]].std() == pytest.approx(1, rel=0.15) and not table[1].any()
    assert model.post_processors["1"].weight.std() == pytest.approx(0.01, rel=0.15)


@pytest.mark.parametrize(
    ("mode", "layers", "shared"),
    [
        ("all", 4, [0, 1, 2, 3]), ("None", 4, []), ("first", 4, [0]), ("last", 4, [3]), ("first3", 4, [0, 1, 2]),
        ("last2", 12, [10, 11]), ("Ahalf", 12, [0, 1, 2, 3, 4, 5]), ("halfB", 4, [2, 3]), ("firstthird", 6, [0, 1]),
        ("midthird", 12, [4, 5, 6, 7]), ("lastthird", 3, [2]), ("odd", 5, [0, 2, 4]), ("even", 5, [1, 3]),
    ],
)  # fmt: skip
def test_attention_modes(mode: str, layers: int, shared: list[int]) -> None:
    assert [i for i, together in enumerate(shared_layers(mode, layers)) if together] == shared


@pytest.mark.parametrize(
    "sizes", [{"attention_mode": "last9"}, {"attention_mode": "some"}, {"n_head": 5}, {"foreign_keys": "x"}, {"n": 1}]
)
def test_settings_that_do_not_fit(sizes: dict) -> None:
    with pytest.raises(ConfigError):
        MoTGPT2(MoTGPT2.complete({"n_embd": 32, "n_layer": 2, **sizes}, TEXT, 0))


def test_a_sequence_that_is_too_long() -> None:
    model = tiny()
    x = torch.zeros(1, 41, WIDTH)
    with pytest.raises(RequestError, match="41 tokens.* 40 positions"):
        model(x, 0, torch.ones(1, 41).bool())


def test_new_motion_parameters_only(gpt2, gpt2_folder) -> None:
    """Beside the GPT-2's own tensors there are the motion branch and the motion tables, nothing else."""
    weights = load_start_point(gpt2_folder).state_dict()
    new = {key for key in weights if ".fn.1." in key} | {"pre_processors.1.weight", "post_processors.1.weight"}
    own = {key for key in gpt2.state_dict() if key != "lm_head.weight"}
    assert len(weights) == len(own) + len(new)
    torch.testing.assert_close(weights["transformer.wte.weight"], gpt2.transformer.wte.weight)
    key = "transformer.h.1.mlp.fn.{}.c_fc.weight"
    assert not torch.equal(weights[key.format(0)], weights[key.format(1)])
    copied = load_start_point(gpt2_folder, "copy_text").state_dict()
    for name in [name for name in copied if ".fn.1." in name]:
        assert torch.equal(copied[name], copied[name.replace(".fn.1.", ".fn.0.")])


def test_start_point_folders(gpt2_folder, tmp_path) -> None:
    """Ours and the published kind give back the same model, whatever is asked for a missing branch."""
    model = load_start_point(gpt2_folder, settings={"attention_mode": "last1", "resid_pdrop": 0.0})
    assert model.architecture["attention_mode"] == "last1" and model.architecture["text_pad_id"] == TEXT - 1
    model.resize_text(TEXT + 2)
    write_start_point(tmp_path / "ours", model, train_text_tokenizer(["a man walks."] * 3, 260))
    assert load_text_tokenizer(tmp_path / "ours")("a man")["input_ids"]
    published = tmp_path / "published"
    published.mkdir()
    (published / "config.json").write_text(json.dumps({"model_type": "gpt2", **model.architecture}))
    torch.save(with_copies(model.state_dict()), published / "model_state_dict.pth")
    for folder in (tmp_path / "ours", published):
        again = load_start_point(folder, "copy_text")
        assert again.architecture == model.architecture
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)


def test_published_folder_without_a_motion_branch(gpt2_folder, tmp_path) -> None:
    model = load_start_point(gpt2_folder)
    text = {k: v for k, v in with_copies(model.state_dict()).items() if ".fn.1." not in k and "processors.1" not in k}
    (tmp_path / "config.json").write_text((gpt2_folder / "config.json").read_text())
    torch.save(text, tmp_path / "model_state_dict.pth")
    again = load_start_point(tmp_path, "copy_text").transformer["h"][0].c_attn.fn
    assert torch.equal(again[1].weight, model.transformer["h"][0].c_attn.fn[0].weight)


def test_start_points_that_do_not_fit(gpt2, gpt2_folder, tmp_path) -> None:
    config, weights = gpt2.config.to_dict(), load_start_point(gpt2_folder).state_dict()
    with pytest.raises(CheckpointError, match="lm_head.weight differs"):
        without_copies({**weights, "lm_head.weight": torch.zeros(TEXT, WIDTH)})
    torch.save(gpt2.state_dict(), tmp_path / "model_state_dict.pth")
    for described, message in (
        ({k: v for k, v in config.items() if k != "n_head"}, "n_head missing"),
        ({**config, "model_type": "t5"}, "'t5' model"),
        ({**config, "mot_factor": 0.5}, "mot_factor 0.5 is not supported"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(described))
        with pytest.raises(CheckpointError, match=message):
            load_start_point(tmp_path)
    with pytest.raises(ConfigError, match="n_embd.* follow from the pretrained model"):
        load_start_point(gpt2_folder, settings={"n_embd": 64})
    with pytest.raises(ConfigError, match="init_motion_branch 'zero'"):
        load_start_point(gpt2_folder, "zero")
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({k: v for k, v in weights.items() if "h.0.ln_1.fn.1" not in k}, tmp_path / "model_state_dict.pth")
    with pytest.raises(CheckpointError, match=r"does not fit a two-branch GPT-2: transformer.h.0.ln_1.fn.1.*2 in all"):
        load_start_point(tmp_path)
