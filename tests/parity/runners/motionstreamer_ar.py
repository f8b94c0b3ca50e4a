"""Parity of MotionStreamer's transformer with its diffusion head: conditions, samplers, streams and training steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mld.models.backbones.llama import LlamaConfig
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.conversion.keymap import Coverage, part
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.families.motionstreamer.convert import TOKENIZER, keymap
from mld.models.families.motionstreamer.decoding import LatentDecoding, LatentRows, Prompt
from mld.models.families.motionstreamer.model import MotionStreamer
from mld.models.families.motionstreamer.two_forward import Draws, Rows, counted_loss, guesses, mixed, replaced_share
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from tests.parity.harness import Case, runner
from tests.parity.runners.motionstreamer_tae import flow_of, load_tokenizer
from tests.parity.runners.rep272 import PUBLISHED, recovered_smpl85


class Features:
    """Stands in for a text encoder: features of the empty text, and their width."""

    def __init__(self, null: Tensor) -> None:
        self.null, self.sentence_width = null, len(null)

    def encode(self, texts, device="cpu") -> list[TextFeatures]:
        assert set(texts) == {""}
        return [TextFeatures(self.null[None], self.null)] * len(texts)


class Stored:
    """Noise of a case: the initial state and that of the steps, draw after draw."""

    def __init__(self, init: Tensor, steps: Tensor) -> None:
        self.rows = torch.cat((init, steps[:, :, 0]), 1)[:, None, :, None]

    def normal(self, number: int, shape) -> Tensor:
        assert self.rows[number].shape[1:] == tuple(shape)
        return self.rows[number]


def head_config(c: Mapping) -> DiffusionHeadConfig:
    assert (c["predict"], c["clip_denoised"], c["time_embed_dim"], c["norm_eps"]) == ("epsilon", False, 256, 1e-6)
    return DiffusionHeadConfig(
        width=c["width"], depth=c["depth"], pooling=False, noise_schedule=c["noise_schedule"],
        diffusion_steps=c["diffusion_steps"], num_inference_steps=c["num_sampling_steps"],
        learn_sigma=c["learn_sigma"], sigma_small=c["sigma_small"], zero_init=True,
    )  # fmt: skip


def load_model(case: Case, null: Tensor, weights: Mapping[str, Tensor], tokenizer=None, **settings) -> MotionStreamer:
    c = case.config
    assert c["qk_norm"] == "l2 before rope" and c["rope_pairs"] == "interleaved" and c["rms_norm_eps"] == 1e-5
    architecture = LlamaConfig(c["n_layer"], c["n_head"], c["n_embd"], c["block_size"], rope_base=c["rope_base"])
    assert c["n_embd"] // c["n_head"] == c["head_dim"]
    stored = [float(value) for name, value in weights.items() if name.endswith("attn.scale")]
    assert all(abs(scale - architecture.scale) < 1e-12 for scale in stored) and stored
    config = MotionStreamerConfig(architecture, head_config(c["head"]), **settings)
    tokenizer = tokenizer or CausalAE(CausalAEConfig(latent_channels=c["latent_dim"], width=8, depth=1))
    model, coverage = MotionStreamer(config, tokenizer, Features(null)), Coverage()
    missing, unexpected = model.load_state_dict(keymap().translate(weights, coverage), strict=False)
    assert not unexpected and not coverage.unexpected
    assert all(name.startswith(TOKENIZER) or name == "end_latent" for name in missing)
    return model.eval()


def settings_of(generation: Mapping) -> dict:
    return {"guidance_scale": generation["cfg"], "temperature": generation["temperature"], "window": 77}


def sampled(model: MotionStreamer, prompt: Prompt, count: int | None, noise: Stored) -> Tensor:
    """Latents (n, C) of one answer; the way without a cache has to agree."""
    found = []
    for cached in (True, False):
        decoding, tokens, made = LatentDecoding(model, [prompt], [count], cached), None, []
        for _ in range(decoding.longest):
            tokens, ended = decoding.draw(decoding.step(tokens), noise)
            if ended[0]:
                break
            made.append(tokens[0])
        found.append(torch.stack(made))
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-5)
    return found[0]


def conditions(model: MotionStreamer, texts: list[Tensor], history: Tensor, latents: Tensor, window: int) -> Tensor:
    """Of every latent from the stored ones before it: (n, kinds, W). texts: that in force at each of them."""
    state, found = LatentRows(model, 1), []
    model.config.window = window
    state.begin(0, Prompt(texts[0], history))
    for i, text in enumerate(texts):
        if i and text is not texts[i - 1]:
            state.say(0, Prompt(text, history))
        found.append(state.conditions([0])[0])
        if i < len(latents):
            state.append([0], latents[i][None])
    return torch.stack(found)


@runner("motionstreamer.ar")
@torch.no_grad()
def ar(case: Case) -> dict:
    texts, null, latents = (case.tensor(name) for name in ("text_feat", "empty_text_feat", "latents"))
    model = load_model(case, null, case.state_dict)
    out = {
        "cond_seq": model.conditions(texts, latents), "cond_empty_prefix": model.conditions(texts[:1], latents[:1, :0]),
        "cond_b1_full": model.conditions(texts[:1], latents[:1]),
        "cond_seq_77": model.conditions(texts[:1], case.tensor("latents_77")),
    }  # fmt: skip
    for name, generation in case.config["generation"].items():
        model = load_model(case, null, case.state_dict, **settings_of(generation))
        text = texts[generation["text"]]
        given = case.tensor(generation["prefix"]) if "prefix" in generation else latents[0, :0]
        noise = Stored(case.tensor(f"{name}_init_noise"), case.tensor(f"{name}_step_noise"))
        count = generation["latents"]
        if generation["stop"]:
            model.end_latent.copy_(case.tensor("stop_reference")[0])
            model.config.end_distance = float(case.arrays["stop_threshold"])
            assert model.config.end_distance == generation["stop_threshold"]
            count = None
        made = sampled(model, Prompt(text, given), count, noise)
        out[f"{name}_out"] = made[None]
        assert len(made) == generation["latents"]
        stored = case.tensor(f"{name}_out")[0]
        told = [text] * generation.get("sampled", len(stored))
        out[f"{name}_conds"] = conditions(model, told, given, stored, 77)
    return out


@runner("motionstreamer.two_forward")
def two_forward(case: Case) -> dict:
    texts, tokens, lengths = (case.tensor(name) for name in ("text_feat", "padded_latents", "lengths"))
    model = load_model(case, torch.zeros(texts.shape[1]), case.state_dict).train()
    latents = tokens[:, :-1]
    place = torch.arange(latents.shape[1])
    before = case.tensor("A_token_length") if case.config["streaming"] else torch.zeros_like(lengths)
    history = place < before[:, None]
    rows = Rows(latents, (place < lengths[:, None]) & ~history, history)
    draws = Draws(*(case.tensor(name) for name in ("t_first", "noise_first", "perm", "t_second", "noise_second")))

    def condition(seen: Tensor) -> Tensor:
        return model.conditions(texts, seen[:, :-1])

    progress = int(case.arrays["step"]) / int(case.arrays["total_steps"])
    count = int(latents.shape[1] * replaced_share(progress))
    guessed = guesses(rows, condition, model.head, draws, None)
    first = model.head.loss_terms(
        latents.flatten(0, 1)[:, None], condition(latents).flatten(0, 1)[:, None], draws.t, draws.noise[:, None]
    )["mse"].mean()
    replaced = mixed(rows, case.tensor("pred_xstart_first"), draws, count)
    loss = counted_loss(rows, mixed(rows, guessed, draws, count), condition, model.head, draws)
    torch.testing.assert_close(model.step(rows, texts, progress, draws), loss)
    loss.backward()
    return {
        "num_replaced": count, "pred_xstart_first": guessed, "updated_latents": replaced, "loss_first": first,
        "loss": loss, "grad_wte_weight": model.latent_embed.weight.grad,
        "grad_cond_embed_bias": model.text_embed.bias.grad,
        "grad_diff_final_bias": model.head.net.final_layer.linear.bias.grad,
        "attn_scale_grad_is_none": not any("scale" in name and "attn" in name for name, _ in model.named_parameters()),
    }  # fmt: skip


def whole_model(case: Case, **settings) -> MotionStreamer:
    """The model of a case with transformer and tokenizer."""
    prefixes = {what: prefix for prefix, what in case.config["weights_prefixes"].items()}
    ar = part(case.state_dict, prefixes["AR transformer with diffusion head"])
    statistics = case.tensor("mean"), case.tensor("std")
    tokenizer = load_tokenizer(
        {**case.config["tae"], "causal": True}, part(case.state_dict, prefixes["causal TAE"]), statistics
    )
    return load_model(case, case.tensor("empty_text_feat"), ar, tokenizer, **settings)


def denormalised(case: Case) -> Tensor:
    return case.tensor("frames").double() * case.tensor("std") + case.tensor("mean")


def recovered(case: Case, features: Tensor) -> dict:
    """Joints and SMPL rows of features (T, D), joints in pieces as well as at once."""
    assert case.config["heading_recovery"] == "full" and case.config["trans_convention"] == "pelvis"
    joints, parameters = recovered_smpl85(features)
    stream = PUBLISHED.stream()
    torch.testing.assert_close(torch.cat([stream.push(piece) for piece in features.split(4)]), joints)
    return {"joints": joints, "smpl85": parameters}


@runner("motionstreamer.stream")
@torch.no_grad()
def stream(case: Case) -> dict:
    c = case.config
    model = whole_model(case, guidance_scale=c["cfg"], temperature=c["temperature"], window=c["context"])
    texts, noise = case.tensor("text_feat"), Stored(case.tensor("init_noise"), case.tensor("step_noise"))
    starts = {entry["first_latent"]: texts[entry["text"]] for entry in c["schedule"]}
    in_force = [starts[max(first for first in starts if first <= i)] for i in range(c["latents"])]
    state, made = LatentRows(model, 1), []
    state.begin(0, Prompt(in_force[0], texts.new_zeros(0, len(model.end_latent))))
    for i in range(c["latents"]):
        if i in starts and i:
            state.say(0, Prompt(starts[i], texts[:0]))
        latent = model.sample(state.conditions([0]), noise, i)
        state.append([0], latent)
        made.append(latent[0])
    stored = case.tensor("latents")
    nothing = stored[:0]
    decoder = model.tokenizer.stream()
    pushed = torch.cat([model.tokenizer.normalize(decoder.push(latent[None, None])[0]) for latent in stored])
    torch.testing.assert_close(
        pushed, model.tokenizer.generate(stored[None], flow_of(stored[None]))[0], atol=1e-5, rtol=1e-5
    )
    return {
        "conds": conditions(model, in_force, nothing, stored, c["context"]), "latents": torch.stack(made),
        "frames": pushed, "features": denormalised(case), **recovered(case, case.tensor("features")),
    }  # fmt: skip


@runner("motionstreamer.generate")
@torch.no_grad()
def generate(case: Case) -> dict:
    c = case.config
    model = whole_model(
        case, guidance_scale=c["cfg"], temperature=c["temperature"], window=77, longest=c["max_latents"],
        end_distance=float(case.arrays["threshold"]), least_latents=1,
    )  # fmt: skip
    assert c["max_frames"] == model.tokenizer.layout.frames(model.config.longest)
    model.end_latent.copy_(case.tensor("reference_end_latent")[0])
    prompt = Prompt(case.tensor("text_feat"), torch.zeros(0, len(model.end_latent)))
    made = sampled(model, prompt, None, Stored(case.tensor("init_noise"), case.tensor("step_noise")))
    latents = case.tensor("latents")
    frames = model.tokenizer.generate(latents, flow_of(latents))[0]
    model.config.guidance_scale, model.config.temperature = c["fixed"]["cfg"], c["fixed"]["temperature"]
    count = model.tokenizer.layout.count(int(case.arrays["fixed_frames"]))
    fixed = sampled(model, prompt, count, Stored(case.tensor("fixed_init_noise"), case.tensor("fixed_step_noise")))
    return {
        "latents": made[None], "stop_index": len(made), "frames": frames, "fixed_latents": fixed[None],
        **recovered(case, denormalised(case)),
    }  # fmt: skip
