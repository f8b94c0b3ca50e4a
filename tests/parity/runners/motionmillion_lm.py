"""Parity of MotionMillion's transformer: logits, sampling, training steps, packed rows and learning rates."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mld.data.sources.humanml3d import read_captions
from mld.engine.sampling.autoregressive import Sampled, sample
from mld.errors import DataError
from mld.models.backbones.llama import Rotation
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.contracts.tokens import TokenLayout
from mld.models.conversion.keymap import Coverage
from mld.models.families.motionmillion.config import PUBLISHED_CAP, MotionMillionConfig
from mld.models.families.motionmillion.convert import keymap, own_weights
from mld.models.families.motionmillion.decoding import CodeDecoding, CodeSteps, Prompt
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.families.motionmillion.packing import Rows, Vocabulary, corrupted, pack
from mld.models.generation import GenerationSettings
from mld.models.noise import RowNoise
from mld.training.optimization import rate_factor
from mld.training.run_config import SchedulerConfig
from tests.parity.harness import Case, runner

GREEDY = GenerationSettings(do_sample=False)


class Codes(torch.nn.Module):
    """Stands in for a tokenizer of so many codes."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.layout = TokenLayout(codebook_size=number, frames_per_token=2)


class Width:
    """Stands in for a text encoder: how wide its features are."""

    def __init__(self, width: int) -> None:
        self.width = width

    def encode(self, texts, device="cpu") -> list[TextFeatures]:
        raise AssertionError("features are those of the case")


def load_model(case: Case) -> MotionMillion:
    c = case.config
    assert (c["qk_norm"], c["bias"], c["rope_base"], c["rope_pairs"]) == (False, False, 10000.0, "interleaved")
    longest = min(c.get("max_codes", PUBLISHED_CAP), c["block_size"] - 2)
    config = MotionMillionConfig(
        layers=c["n_layer"], heads=c["n_head"], width=c["n_embd"], positions=c["block_size"],
        longest_text=c["block_size"] - longest - 1, tie_head=c["tie_weights"], rope_dtype=c["rope_dtype"],
        motion_generation=replace(GREEDY, max_length=longest),
    )  # fmt: skip
    model = MotionMillion(config, Codes(c["nb_code"]), Width(c["text_dim"]))
    assert model.transformer.h[0].mlp.c_fc1.out_features == c["mlp_hidden"]
    assert (model.vocabulary.end_id, model.vocabulary.pad_id) == (c["end_id"], c["pad_id"])
    coverage = Coverage()
    own = own_weights(keymap().translate(case.state_dict, coverage), "the case")
    assert not coverage.unexpected and not coverage.ignored
    model.load_state_dict(own)
    assert model.logits(torch.zeros(1, c["n_embd"])).shape[1] == c["head_rows"]
    return model.eval()


def texts_of(case: Case) -> list[Tensor]:
    features, mask = case.tensor("text_features"), case.tensor("text_mask").bool()
    return [row[real] for row, real in zip(features, mask)]


def rows_of(case: Case) -> Rows:
    """The case's rows. What is counted is found again by packing the codes in them; a row that is full of codes has no
    end, and stands as one of a position more that is cut off."""
    tokens, c = case.tensor("tokens"), case.config
    texts, length = [len(text) for text in texts_of(case)], tokens.shape[1]
    codes = [row[text : text + size] for row, text, size in zip(tokens, texts, c["code_lens"])]
    packed = pack(codes, texts, Vocabulary(c["nb_code"]), length + 1, length=length + 1)
    packed = Rows(*(part[:, :length] for part in packed))
    assert torch.equal(packed.tokens, tokens)
    return packed


def generated(model: MotionMillion, texts: list[Tensor], **changes) -> list[Sampled]:
    """Answers to texts together, without the cache and alone: they are the same. changes: of the config."""
    counts = changes.pop("counts", [None] * len(texts))
    noise, before = changes.pop("noise", None), model.config
    model.adopt(replace(before, **changes))
    prompts = [Prompt(text, torch.zeros(0, dtype=torch.long)) for text in texts]
    rows = model.logits(torch.zeros(1, model.embed.embedding_dim)).shape[1]

    def made(chosen: list[int], cached: bool) -> list[Sampled]:
        decoding = CodeDecoding(model, [prompts[i] for i in chosen], [counts[i] for i in chosen], rows, cached)
        if noise is None:
            return sample(decoding, chosen)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RowNoise, "uniform", lambda self, number: noise[list(self.seeds), number])
            return sample(decoding, chosen)

    every = list(range(len(texts)))
    together = made(every, True)
    for other in (made(every, False), [made([i], True)[0] for i in every]):
        assert all(torch.equal(one.tokens, two.tokens) for one, two in zip(together, other))
    model.adopt(before)
    return together


def padded(found: list[Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Codes with -1 behind them (B, width), and how many there are (B,)."""
    lengths = torch.tensor([len(row) for row in found])
    out = torch.full((len(found), width), -1)
    for row, codes in zip(out, found):
        row[: len(codes)] = codes
    return out, lengths


def published_codes(model: MotionMillion, texts: list[Tensor]) -> list[Tensor]:
    """As published, up to its own cap whatever that of the case."""
    settings = replace(GREEDY, max_length=min(PUBLISHED_CAP, model.config.positions - 2))
    found = generated(model, texts, compat=True, longest_text=1, motion_generation=settings)
    model.config.compat = True
    codes = [model.read_motion(one.tokens) for one in found]
    model.config.compat = False
    return codes


def logits_along(model: MotionMillion, text: Tensor, codes: Tensor) -> Tensor:
    """Logits behind the text and behind each code (L + 1, V), step by step; whole rows say the same."""
    prompt, found = Prompt(text, codes[:0]), []
    steps = [CodeSteps(model, [prompt], cached) for cached in (True, False)]
    for code in (None, *codes):
        one, other = (step.step(None if code is None else code[None]) for step in steps)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        found.append(one)
    return torch.cat(found)


@runner("motionmillion.llama.model")
@torch.no_grad()
def network(case: Case) -> dict:
    model, texts, tokens = load_model(case), texts_of(case), case.tensor("tokens")
    logits = model.logits(model.states(texts, tokens))
    codes = published_codes(model, texts)
    found, lengths = padded(codes, PUBLISHED_CAP)
    (first,) = generated(model, texts[:1])  # of which the code that stands for none is not one
    steps = logits_along(model, texts[0], first.tokens[:7])
    return {
        "logits": logits, "loss": model.step(texts, tokens, rows_of(case))[0], "sample_tokens": found,
        "sample_len": lengths, "greedy8": found[:, :8],
        "step_logits_item0": steps[: len(case.arrays["step_logits_item0"])],
    }  # fmt: skip


@runner("motionmillion.llama.generate")
@torch.no_grad()
def generate(case: Case) -> dict:
    model, texts, c = load_model(case), texts_of(case), case.config
    longest, uniforms = c["max_codes"], case.tensor("uniforms").double()
    out: dict = {}
    out["upstream_tokens"], out["upstream_len"] = padded(published_codes(model, texts), c["upstream_cap"])
    greedy = generated(model, texts)
    out["greedy_tokens"], out["greedy_len"] = padded([one.tokens for one in greedy], longest)
    out["greedy_ended"] = np.array([one.complete for one in greedy])
    row = int(case.arrays["step_row"])
    out["step_logits"] = logits_along(model, texts[row], greedy[row].tokens)
    for name, sampler in c["samplers"].items():
        settings = GenerationSettings(max_length=longest, **{"top_k": 0, **sampler})
        found = generated(model, texts, motion_generation=settings, noise=uniforms)
        out[f"{name}_tokens"], out[f"{name}_len"] = padded([one.tokens for one in found], longest)
    counts = case.arrays["exact_lengths"].tolist()
    exact = generated(model, texts, counts=counts)
    out["exact_tokens"] = padded([one.tokens for one in exact], longest)[0]
    return out


@runner("motionmillion.llama.train_step")
def train_step(case: Case) -> dict:
    model, texts, rows = load_model(case).train(), texts_of(case), rows_of(case)
    changed = corrupted(rows.tokens, case.tensor("keep").bool(), case.tensor("random_codes"))
    out: dict = {"targets_counted": np.int64(int(rows.counted[:, 1:].sum()))}
    for prefix, inputs in (("", rows.tokens), ("corrupt_", changed)):
        model.zero_grad()
        loss, accuracy = model.step(texts, inputs, rows)
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert model.head is None or not model.embed.weight.grad[model.vocabulary.pad_id].any()
        out |= {
            f"{prefix}loss": loss, f"{prefix}accuracy": accuracy, f"{prefix}grad_wte": model.embed.weight.grad.clone(),
            f"{prefix}grad_llama_proj_bias": model.text_embed.bias.grad.clone(),
            f"{prefix}grad_c_attn0": model.transformer.h[0].attn.c_attn.weight.grad.clone(),
            f"{prefix}grad_norm": torch.stack([grad.norm() for grad in gradients]).norm(),
        }  # fmt: skip
    return out


@runner("motionmillion.llama.rope")
def rope(case: Case) -> dict:
    c, x = case.config, case.tensor("x")
    positions, width, base = torch.arange(c["positions"])[None], c["head_dim"], c["rope_base"]
    tables = {name: Rotation.of(positions, width, base, dtype) for name, dtype in
              (("f32", torch.float32), ("bf16", torch.bfloat16))}  # fmt: skip
    turned = Rotation.of(torch.arange(x.shape[2])[None], width, base).turn(x)
    found = {f"{part}_{name}": getattr(table, part)[0, 0] for name, table in tables.items() for part in ("cos", "sin")}
    return found | {"rotated": turned}


@runner("motionmillion.lr_schedule")
def lr_schedule(case: Case) -> dict:
    t2m, tokenizer, steps = case.config["t2m"], case.config["tokenizer"], case.arrays["iterations"].tolist()
    cosine = SchedulerConfig(
        "cosine", "from_zero", t2m["warmup_iter"], 0.0, fall_steps=t2m["cosine_T_max"], rises_again=True
    )
    constant = SchedulerConfig("constant", "from_zero", t2m["warmup_iter"])
    out: dict = {
        f"{config.name}_lr": np.array([t2m["base_lr"] * rate_factor(config, step, t2m["updates"]) for step in steps])
        for config in (cosine, constant)
    }
    for processes in (1, 4):  # accelerate advances the schedule once per process
        out[f"tokenizer_{processes}proc_lr"] = _tokenizer_rates(tokenizer, processes)
    return out


def _tokenizer_rates(c: Mapping, processes: int) -> np.ndarray:
    warm_up = c["warm_up_iter"] - 1
    config = SchedulerConfig(
        "steps", "kept", warm_up, milestones=[-(-one // processes) for one in c["milestones"]], gamma=c["gamma"]
    )
    steps = warm_up + c["total_iter"]
    return np.array([c["base_lr"] * rate_factor(config, step, steps) for step in range(steps)])


def _items(texts: Mapping[str, list[str]], split: list[str]) -> list[dict]:
    """Clips of the split with their captions, as they are read from a folder; those without are left out."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in texts.items():
            path = Path(folder, "texts", f"{name}.txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
        for name in split:
            captions, problems = read_captions(Path(folder), name)
            assert [problem.message for problem in problems] == ([] if name in texts else ["missing"])
            found.append({"name": name, "captions": [caption.text for caption in captions]})
    return [item for item in found if item["captions"]]


@runner("motionmillion.data.pack")
def packing(case: Case) -> dict:
    c, data = case.config, case.arrays
    vocabulary = Vocabulary(c["nb_code"])
    assert (vocabulary.end_id, vocabulary.pad_id) == (c["end_id"], c["pad_id"])
    shorten = {"none": slice(None), "drop_last": slice(-1), "drop_first": slice(1, None)}
    (table,) = case.spec["extra_data"]
    out: dict = {f"{table}#items": _items(data[f"{table}#text"], data[f"{table}#split"])}
    for row in data[f"{table}#rows"]:
        codes = case.tensor(f"codes/{row['name']}")[0, shorten[row["augmentation"]]]
        texts = [min(row["text_tokens"], c["max_text_tokens"])]
        longest = max(c["row_length"], texts[0] + len(codes) + 1)
        if longest > c["row_length"]:  # published code makes such rows, and stops at the batch
            with pytest.raises(DataError, match=f"the clip: {len(codes)} codes, a text of {texts[0]} tokens"):
                pack([codes], texts, vocabulary, c["row_length"], names=["the clip"])
        out[f"tokens/{row['row']}"] = pack([codes], texts, vocabulary, longest, length=longest).tokens[0]
    return out
