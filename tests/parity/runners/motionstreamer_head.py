"""Parity of MotionStreamer's diffusion head alone, of its noise schedule and of both learning rates."""

from __future__ import annotations

import torch

from mld.models.heads.diffusion import DiffusionHead
from mld.models.heads.diffusion_process import Chain
from mld.models.heads.diffusion_sampling import PlainSampler
from mld.models.heads.diffusion_schedule import betas
from tests.parity.harness import Case, runner
from tests.parity.runners.motionstreamer_ar import head_config


def load_head(case: Case) -> DiffusionHead:
    c = case.config
    assert (c["cosine_offset"], c["beta_max"], c["mode"]) == (0.008, 0.999, "eval")
    head = DiffusionHead(head_config(c), c["target_channels"], 1, c["z_channels"], 1)
    head.load_state_dict(case.state_dict)
    return head.eval()


@runner("motionstreamer.diffloss")
@torch.no_grad()
def diffloss(case: Case) -> dict:
    head, c = load_head(case), case.config
    target, z = case.tensor("target")[:, None], case.tensor("z")[:, None]

    def terms(t: str, noise: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (N,) and predicted clean latents (N, C)."""
        drawn = case.tensor(t), case.tensor(noise)[:, None]
        return head.loss_terms(target, z, *drawn)["mse"], head.predict_clean(target, z, *drawn)[:, 0]

    per_item, clean = terms("t", "noise")
    forward, forward_clean = terms("fwd_t", "fwd_noise")
    masked, mask = terms("masked_t", "masked_noise")[0], case.tensor("mask")
    out = {
        "net_out": head.net(target, case.tensor("t"), z)[:, 0], "net_cfg_out": guided(head, case),
        "train_loss_per_item": per_item, "train_pred_xstart": clean,
        "fwd_loss": forward.mean(), "fwd_pred_xstart": forward_clean,
        "masked_loss": (masked * mask).sum() / mask.sum(),
    }  # fmt: skip
    for name, sampler in c["samplers"].items():
        out[f"{name}_sample"] = sample(head, case, name, **sampler)
    return out


def guided(head: DiffusionHead, case: Case) -> torch.Tensor:
    """The guided prediction in both halves, (2N, C): as published, of the first half of the states alone."""
    x, t, z = case.tensor("x_cfg")[:, None], case.tensor("t_cfg"), case.tensor("z_cfg")[:, None]
    half = len(x) // 2
    guidance = head.guidance(z[:half], case.config["net_cfg_scale"], z[half:])
    output = head.net(guidance.doubled(x[:half]), t, guidance.conditions())
    epsilon, _ = guidance.split(output, head.chain)
    return torch.cat((epsilon, epsilon))[:, 0]


def sample(head: DiffusionHead, case: Case, name: str, cfg: float, temperature: float) -> torch.Tensor:
    """Latents of the stored noise, (N, C), under guidance twice over, as that of the second half is not compared; the
    plain sampler has to agree."""
    z = case.tensor("z_cfg" if cfg > 1 else "z")[:, None]
    count = len(z) // 2 if cfg > 1 else len(z)
    first, steps = case.tensor(f"{name}_init_noise"), case.tensor(f"{name}_step_noise")[:, :count]
    noise = torch.cat((first[None], steps)).transpose(0, 1)[:, :, None]
    null = z[count:] if cfg > 1 else None
    made = head.sample(z[:count], noise, cfg, null, temperature)
    guidance = head.guidance(z[:count], cfg, null)
    *_, (plain, _) = PlainSampler(head.net, head.short_chain).run(guidance, noise, temperature)
    torch.testing.assert_close(made, plain, atol=1e-4, rtol=0)  # rounding grows a thousandfold at the first step
    stored = case.arrays[f"{name}_sample"]
    return made[:, 0].repeat(len(stored) // count, 1)


@runner("motionstreamer.diffusion_schedule")
def diffusion_schedule(case: Case) -> dict:
    c = case.config
    assert (c["cosine_offset"], c["beta_max"], c["sigma_small"], c["dtype"]) == (0.008, 0.999, True, "float64")
    whole = Chain(betas(c["noise_schedule"], c["diffusion_steps"]), "small")
    out = {}
    for name, request in c["respacing"].items():
        chain = whole if request is None else whole.respaced(request)
        assert chain.betas.dtype == torch.float64
        out |= {
            f"{name}_betas": chain.betas, f"{name}_alphas_cumprod": chain.alphas_cumprod,
            f"{name}_timestep_map": chain.timesteps, f"{name}_posterior_variance": chain.posterior_variance,
            f"{name}_posterior_log_variance_clipped": chain.fixed_log_variance,
            f"{name}_posterior_mean_coef1": chain.mean_from_clean,
            f"{name}_posterior_mean_coef2": chain.mean_from_state,
        }  # fmt: skip
    return out
