"""Parity of the MotionGPT family: VQ-VAE, quantizers, motion strings."""

from __future__ import annotations

import numpy as np
import torch

from mld.example import FeatureBatch
from mld.models.families.motiongpt import strings
from mld.models.tokenizers.quantizers import Learned, make_quantizer
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from tests.models.tiny import full_mask
from tests.parity.harness import Case, runner

REPRESENTATIONS = {263: "humanml3d", 251: "kit"}
NORMS = {None: None, "None": None, "LN": "LN", "BN": "BN"}


def load_vqvae(case: Case) -> VQVAE:
    c = case.config
    assert c["stride_t"] == 2 and c["code_dim"] == c["output_emb_width"]
    config = VQVAEConfig(
        representation=REPRESENTATIONS[c["nfeats"]], quantizer=c["quantizer"], codebook_size=c["code_num"],
        code_dim=c["code_dim"], width=c["width"], down_t=c["down_t"], depth=c["depth"],
        dilation_growth_rate=c["dilation_growth_rate"], activation=c["activation"], norm=NORMS[c["norm"]],
        ema_decay=c["codebook_mu"],
    )  # fmt: skip
    model = VQVAE(config)
    if not c.get("quantizer_initialised", True):
        assert not case.state_dict["quantizer.codebook"].any()
    state = {**{k: v for k, v in model.state_dict().items() if k.startswith("feature_")}, **case.state_dict}
    model.load_state_dict(state)
    return model.train(c["mode"] == "train")


@runner("motiongpt.vqvae.eval")
@torch.no_grad()
def vqvae_eval(case: Case) -> dict:
    model = load_vqvae(case)
    out = {}
    for name, suffix in (("features", ""), ("features_odd", "_odd")):
        x = case.tensor(name)
        mask = full_mask(x)
        result = model.reconstruct(x, mask)
        out[f"codes{suffix}"] = model.encode(x, mask)[0]
        out[f"forward_out{suffix}"] = result.features
        if not suffix:
            out["encoder_out"] = model.encoder(x.transpose(1, 2), mask[:, None])[0]
            out["commit_loss"], out["perplexity"] = result.commitment_loss, result.perplexity
    for name, source in (("decoded_codes0", case.tensor("codes")[:1]), ("decoded_odd", case.tensor("codes_odd"))):
        out[name] = model.decode(source, full_mask(source))
    return out


@runner("motiongpt.vqvae.train_step")
def vqvae_train_step(case: Case) -> dict:
    model = load_vqvae(case)
    weights = case.config["loss"]
    assert list(range(*model.positions.indices(case.config["nfeats"]))) == list(range(*weights["velocity_slice"]))
    out = {}
    for step in (1, 2):
        batch = case.tensor(f"batch{step}")
        with torch.no_grad():
            result = copy_of(model).reconstruct(batch, full_mask(batch))
        out[f"out{step}"] = result.features
        terms = model.loss(FeatureBatch(batch, full_mask(batch)))
        out[f"commit{step}"], out[f"perplexity{step}"] = terms["commitment_loss"], terms["monitor/perplexity"]
        for name, key in (("codebook", "codebook"), ("code_sum", "code_sum"), ("code_count", "code_count")):
            out[f"{name}_after{step}"] = getattr(model.quantizer, key).clone()
        if step == 1:
            out["loss_recons_feature"], out["loss_recons_velocity"] = terms["recons_feature"], terms["recons_position"]
            out["loss_vq_commit"] = terms["commitment_loss"]
            assert model.loss_weights == {
                "recons_feature": weights["lambda_feature"], "recons_position": weights["lambda_velocity"],
                "recons_root": 0.0, "commitment_loss": weights["lambda_commit"],
            }  # fmt: skip
            out["loss_total"] = sum(model.loss_weights[name] * terms[name] for name in model.loss_weights)
            out["loss_total"].backward()
            out.update({f"grad__{name}": p.grad for name, p in model.named_parameters()})
    return out


def copy_of(model: VQVAE) -> VQVAE:
    """The same model in the same state, so that looking at a step does not take it."""
    twin = VQVAE(model.config)
    twin.load_state_dict(model.state_dict())
    return twin.train(model.training)


@runner("motiongpt.quantizer.steps")
@torch.no_grad()
def quantizer_steps(case: Case) -> dict:
    c = case.config
    quantizer = make_quantizer(c["quantizer"], c["code_num"], c["code_dim"], c["mu"] or 0.99, c["beta"] or 1.0)
    quantizer.load_state_dict(case.state_dict)
    noise = iter([case.tensor(name) for name in sorted(case.arrays) if name.startswith("noise")])
    if not isinstance(quantizer, Learned):
        quantizer.draw_noise = lambda rows: next(noise)
    if not c["initialised"]:  # published files may hold random entries then; here an empty codebook says so
        quantizer.codebook.zero_()
    out = {}
    for step in range(1, c["train_steps"] + 1):
        quantizer.train()
        result = run(quantizer, case.tensor(f"x{step}"))
        out[f"x_d{step}"], out[f"loss{step}"], out[f"perplexity{step}"], _ = result
        out[f"codebook{step}"] = quantizer.entries().clone()
        for name in ("code_sum", "code_count"):
            if hasattr(quantizer, name):
                out[f"{name}{step}"] = getattr(quantizer, name).clone()
    quantizer.eval()
    out["x_d_eval"], out["loss_eval"], out["perplexity_eval"], out["codes_eval"] = run(
        quantizer, case.tensor("x_eval")
    )
    return out


def run(quantizer, x: torch.Tensor) -> tuple:
    result = quantizer(x, full_mask(x.transpose(1, 2)))
    return result.values, result.commitment_loss, result.perplexity, result.codes


@runner("motiongpt.lm.strings")
def lm_strings(case: Case) -> dict:
    c = case.config
    codes = c["codebook_size"]
    assert [strings.token_name(7)] == [c["token_format"].format(i=7)]
    assert (c["start_id"], c["end_id"], c["mask_id"]) == (codes, codes + 1, codes + 2)

    def to_string(r: dict) -> dict:
        return {"string": strings.motion_token_to_string(r["tokens"], codes, r["length"])}

    def fill(r: dict) -> dict:
        result = strings.placeholder_fulfill(
            r["prompt"], r["length"], r["motion_string"], r["text"], codes, r["quote"], c["frames_per_token"], c["fps"]
        )
        return {"result": result}

    def to_token(r: dict) -> dict:
        tokens, text = strings.motion_string_to_token(r["string"], codes, spaced=False)
        return {"tokens": tokens, "text": text}

    def corrupt(r: dict) -> dict:
        rng = np.random.RandomState(r["numpy_seed"])
        masks = [strings.noise_mask(r["length"], rng) for _ in range(r["batch"])]
        first = r["vocab_len"] - (codes + 3) - 1
        pairs = [strings.span_corruption(i, m, first, c["eos_id"]) for i, m in zip(r["input_ids"], masks)]
        return {
            "mask": [m.astype(int).tolist() for m in masks],
            "encoder_input": [shown for shown, _ in pairs],
            "labels": [told for _, told in pairs],
        }

    functions = {
        "motion_token_to_string": to_string, "placeholder_fulfill": fill,
        "motion_string_to_token": to_token, "span_corruption": corrupt,
    }  # fmt: skip
    return {
        name: [(function(r), {key: r[key] for key in c["records"][name]["expect"]}) for r in case.arrays[name]]
        for name, function in functions.items()
    }
