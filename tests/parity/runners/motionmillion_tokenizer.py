"""Parity of the tokenizer of MotionMillion: rounding, patcher, network, a step of its training, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.example import FeatureBatch
from mld.metrics.joints import accelerations, mpjpe
from mld.models.conversion.keymap import Coverage
from mld.models.tokenizers.convert_fsq import own_names, published_state, sizes
from mld.models.tokenizers.fsq import FSQ, levels_of
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.models.tokenizers.haar import Patcher
from tests.parity.harness import Case, runner

GRADIENT = "grad/vqvae."


def load_tokenizer(c: Mapping[str, Any], weights: Mapping[str, Tensor], case: Case) -> FSQAE:
    """The tokenizer of a case's config over published weights."""
    assert c["stem_activation"] == "relu" and c["upsample"] == "nearest" and not c["use_attn"]
    assert c["kernel_size"] == 3 and c["stride_t"] == 2
    assert c["gelu_form"] is None or c["gelu_form"] in ("exact", "erf")
    coverage = Coverage()
    own = own_names(weights, coverage)
    found = sizes(own, case.folder)
    config = FSQAEConfig(
        codes=c["nb_code"], code_dim=c["code_dim"], width=c["width"], down=c["down_t"], depth=c["depth"],
        dilation_growth_rate=c["dilation_growth_rate"], activation=c["activation"], norm=c["norm"],
        patch_size=c["patch_size"], patch_method=c["patch_method"], causal=c["causal"],
    )  # fmt: skip
    if c["norm"] == "GN":  # whose weights look like those of LN
        found["norm"] = "GN"
    assert all(getattr(config, name) == value for name, value in found.items()), found
    tokenizer = FSQAE(config)
    missing, unexpected = tokenizer.load_state_dict(own, strict=False)
    assert not unexpected and not coverage.unexpected and set(missing) == {"feature_mean", "feature_std"}
    assert tokenizer.layout.codebook_size == c["codebook_size"]
    return tokenizer.eval()


def whole(rows: Tensor) -> Tensor:
    return torch.ones(rows.shape[:2], dtype=torch.bool)


@runner("motionmillion.fsq")
def fsq(case: Case) -> dict:
    c = case.config
    levels = levels_of(c["nb_code"])
    assert list(levels) == c["levels"]
    quantizer = FSQ(levels, c["dim"])
    quantizer.load_state_dict(case.state_dict if case.spec["weights"] else {})
    z, probe = case.tensor("z").requires_grad_(), case.tensor("probe_indices")
    quantized = quantizer(z, torch.ones(len(z), z.shape[-1], dtype=torch.bool))
    (quantized.values * case.tensor("grad_weight")).sum().backward()
    latents = quantizer.project(z)
    torch.testing.assert_close(quantizer.lookup(quantized.codes), quantized.values, atol=1e-6, rtol=1e-6)
    assert torch.equal(quantizer.codes(z), quantized.codes)
    return {
        "z_projected": latents, "bounded": quantizer.bound(latents),
        "codes": quantizer.scaled(quantizer.steps(latents)), "indices": quantized.codes,
        "level_indices": quantizer.split(case.tensor("indices")), "out": quantized.values, "grad_z": z.grad,
        "probe_codes": quantizer.scaled((quantizer.split(probe) - quantizer.sizes // 2).float()),
        "probe_dequantized": quantizer.lookup(probe[None])[0].T, "perplexity": quantized.perplexity,
        "activate": quantized.usage, "levels": quantizer.sizes, "basis": quantizer.basis,
        "codebook_size": quantizer.codebook_size,
    }  # fmt: skip


@runner("motionmillion.patcher")
def patcher(case: Case) -> dict:
    size, method, patched = case.config["patch_size"], case.config["patch_method"], case.tensor("x")
    if method == "haar":  # published code takes the next smaller power of two, and mirrors a frame where one is missing
        levels = size.bit_length() - 1
        made = Patcher(2**levels, method)
        for _ in range(levels):
            patched = Patcher(2).patch(F.pad(patched, (0, patched.shape[-1] % 2), mode="reflect"))
    else:
        made = Patcher(size, method)
        patched = made.patch(patched)
    if patched.shape[-1] * made.size == case.arrays["x"].shape[-1]:
        assert torch.equal(patched, made.patch(case.tensor("x")))
    return {"patched": patched, "roundtrip": made.unpatch(patched), "unpatched_z": made.unpatch(case.tensor("z"))}


@runner("motionmillion.tokenizer")
@torch.no_grad()
def tokenizer(case: Case) -> dict:
    network, motion = load_tokenizer(case.config, case.state_dict, case), case.tensor("motion")
    features, mask = network.hidden(motion, whole(motion))
    made, _, quantized = network.reconstruct(motion, whole(motion))
    codes, kept = network.encode(motion, whole(motion))
    assert kept.all() and torch.equal(codes, quantized.codes)
    if case.config["use_patcher"]:
        exported = published_state(network)
        assert exported.keys() == case.state_dict.keys()
        assert all(torch.equal(exported[name], value) for name, value in case.state_dict.items())
    first = case.tensor("indices").long()[:1]
    return {
        "features": features, "z_projected": network.quantizer.project(features), "indices": codes,
        "quantized": quantized.values, "recon": made, "recon_from_indices0": network.decode(first, whole(first)),
        "perplexity": quantized.perplexity, "activate": quantized.usage,
    }  # fmt: skip


@runner("motionmillion.tokenizer.train_step")
def train_step(case: Case) -> dict:
    c = case.config
    network, motion = load_tokenizer(c, case.state_dict, case).train(), case.tensor("motion")
    assert network.positions == slice(*c["position_slice"]) and network.root == list(range(*c["root_slice"]))
    assert network.loss_weights["recons_position"] == c["position_weight"]
    batch = FeatureBatch(motion, whole(motion))
    with torch.no_grad():
        made, _, quantized = network.reconstruct(motion, whole(motion))
    odd = motion[:1, : motion.shape[1] - 3]
    codes, kept = network.encode(odd, whole(odd))
    found = {
        "indices": quantized.codes, "recon": made, "loss_commit": quantized.commitment_loss, "odd_indices": codes,
        "odd_recon": network.decode(codes, kept)[0],
    }  # fmt: skip

    def total(losses: Mapping[str, Tensor]) -> Tensor:
        return sum(weight * losses[name] for name, weight in network.loss_weights.items())

    optimizer = torch.optim.AdamW(
        network.parameters(), **{name: value for name, value in c["optimizer"].items() if name != "name"}
    )
    losses = network.loss(batch)
    total(losses).backward()
    parameters = dict(network.named_parameters())
    for name in case.arrays:
        if name.startswith(GRADIENT):
            own = own_name(name.removeprefix("grad/"), case)
            found[name] = parameters[own].grad.clone()
    optimizer.step()
    return found | {
        "loss_recons": losses["recons_feature"], "loss_position": losses["recons_position"], "loss": total(losses),
        "optional_difference": losses["recons_velocity"], "optional_root": losses["recons_root"],
        "optional_second_difference": losses["recons_acceleration"], "perplexity": losses["monitor/perplexity"],
        "activate": losses["monitor/usage"], "loss_after_step": total(network.loss(batch)),
    }  # fmt: skip


def own_name(published: str, case: Case) -> str:
    """Our name of a published weight of a case."""
    own = own_names({key: torch.tensor(i) for i, key in enumerate(case.state_dict)}, Coverage())
    return next(key for key, place in own.items() if list(case.state_dict)[place] == published)


@runner("motionmillion.metrics.reconstruction")
def reconstruction(case: Case) -> dict:
    wanted, made = case.tensor("gt_joints"), case.tensor("pred_joints")
    found = {"mpjpe_per_frame": mpjpe(made, wanted)}
    for name, joints in (("gt", wanted), ("pred", made)):
        sizes_of = accelerations(joints)
        found |= {f"{name}_mean_acc": sizes_of.mean(-1), f"{name}_max_acc": sizes_of.amax(-1)}
    return found
