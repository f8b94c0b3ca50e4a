"""Parity of the causal auto-encoder of MotionStreamer: whole, in pieces, its losses and gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mld.models.conversion.keymap import Coverage, part
from mld.models.families.motionstreamer.convert import TOKENIZER, keymap
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig, Flow, divergence, likelihood_loss
from tests.parity.harness import Case, runner


def load_tokenizer(c: Mapping, weights: Mapping[str, Tensor], statistics: tuple[Tensor, Tensor] | None = None):
    """The tokenizer of a case's config over published weights."""
    assert c["stem_activation"] == "relu" and c["upsample"] == "nearest" and c["kernel_size"] == 3
    assert c["hidden_size"] == c["width"] and c["stride_t"] == 2
    config = CausalAEConfig(
        latent_channels=c["latent_dim"], width=c["width"], down=c["down_t"], depth=c["depth"],
        dilation_growth_rate=c["dilation_growth_rate"], activation=c["activation"], norm=c["norm"],
        log_variance=list(c["clip_range"]),
    )  # fmt: skip
    tokenizer, coverage = CausalAE(config), Coverage()
    own = part(keymap().translate(weights, coverage), TOKENIZER)
    missing, unexpected = tokenizer.load_state_dict(own, strict=False)
    assert not unexpected and not coverage.unexpected and set(missing) == {"feature_mean", "feature_std"}
    if statistics is not None:
        tokenizer.feature_mean.copy_(statistics[0])
        tokenizer.feature_std.copy_(statistics[1])
    assert tokenizer.layout.causal == c["causal"]
    return tokenizer.eval()


def flow_of(rows: Tensor) -> Flow:
    return Flow(torch.ones(len(rows), 1, rows.shape[1], dtype=torch.bool))


@runner("motionstreamer.tae")
def tae(case: Case) -> dict:
    tokenizer, c = load_tokenizer(case.config, case.state_dict), case.config
    motion, eps = case.tensor("motion"), case.tensor("eps")
    posterior = tokenizer.posterior(motion, flow_of(motion))
    z = posterior.sample(eps)
    recon = tokenizer.generate(z, flow_of(z))
    root = slice(*c["root_slice"])
    stored_mu, stored_logvar, rebuilt = case.tensor("mu"), case.tensor("logvar"), case.tensor("recon")

    def losses(error: Tensor, mu: Tensor, logvar: Tensor) -> dict[str, Tensor]:
        mask = torch.ones(mu.shape[:2], dtype=torch.bool)
        found = {
            "loss_recons": likelihood_loss(error), "loss_kl": divergence(type(posterior)(mu, logvar), mask),
            "loss_root": likelihood_loss(error[..., root]),
        }  # fmt: skip
        found["loss_total"] = found["loss_recons"] + found["loss_kl"] + c["root_weight"] * found["loss_root"]
        return found

    out = {"mu": posterior.mu, "logvar": posterior.logvar, "z": z, "recon": recon}
    out["encode_b1"], out["encode_batched"] = z[0].T, z.transpose(1, 2).flatten(0, 1)
    out["decode_mu"] = tokenizer.generate(stored_mu, flow_of(stored_mu))
    prefix = case.tensor("z")[:, : int(case.arrays["prefix_latents"])]
    out["decode_prefix"] = tokenizer.generate(prefix, flow_of(prefix))
    for name in case.arrays:
        if name.startswith("mu_T"):
            cut = motion[:1, : int(name.removeprefix("mu_T"))]
            out[name] = tokenizer.posterior(cut, flow_of(cut)).mu
    out |= losses(motion - rebuilt, stored_mu, stored_logvar)
    losses(motion - recon, posterior.mu, posterior.logvar)["loss_total"].backward()
    out["grad_decode_proj_weight"] = tokenizer.decode_proj.weight.grad
    out["grad_encoder_model0_bias"] = tokenizer.encoder.model[0].conv.bias.grad
    tiny = case.tensor("tinyerr_pred").requires_grad_()
    error = case.tensor("tinyerr_target") - tiny
    out["tinyerr_loss"], out["tinyerr_root"] = likelihood_loss(error), likelihood_loss(error[..., root])
    (out["tinyerr_loss"] + out["tinyerr_root"]).backward()
    return {**out, "tinyerr_grad": tiny.grad}


@runner("motionstreamer.tae.stream")
@torch.no_grad()
def tae_stream(case: Case) -> dict:
    tokenizer = load_tokenizer(case.config, case.state_dict)
    motion, mu = case.tensor("motion"), case.tensor("mu")
    stream, held = tokenizer.stream(), None
    means, variances, emitted = [], [], []
    for piece in motion[None].split(case.arrays["frame_chunks"].tolist(), 1):
        held = stream.read if held is None else held
        flow = Flow(torch.ones(1, 1, piece.shape[1], dtype=torch.bool), held)
        found = tokenizer.posterior(piece, flow)
        held = flow.new
        torch.testing.assert_close(stream.encode(piece), found.mu)
        means.append(found.mu[0])
        variances.append(found.logvar[0])
        emitted.append(sum(map(len, means)))
    pieces = mu[None, : int(case.arrays["latent_chunks"].sum())].split(case.arrays["latent_chunks"].tolist(), 1)
    cold = tokenizer.stream()
    return {
        "mu": torch.cat(means), "logvar": torch.cat(variances), "emitted_after_chunk": emitted,
        "decoded": torch.cat([stream.push(piece)[0] for piece in pieces]),
        "cold_decoded": torch.cat([cold.push(piece)[0] for piece in pieces[1:]]),
    }  # fmt: skip
