"""Parity of the diffusion head of MotionGPT3: network, loss, schedules, and both samplers over whole trajectories."""

from __future__ import annotations

import torch

from mld.models.heads.diffusion import DiffusionHead, DiffusionHeadConfig
from mld.models.heads.diffusion_sampling import PlainSampler
from tests.parity.harness import Case, runner


def load_head(case: Case) -> DiffusionHead:
    c = case.config
    assert (c["predict"], c["clip_denoised"], c["beta_spacing"]) == ("epsilon", False, "linear")
    config = DiffusionHeadConfig(
        width=c["width"], depth=c["depth"], pooling=c["multi_hidden"], num_pooling_heads=c["condition_heads"] or 4,
        noise_schedule=c["noise_schedule"], diffusion_steps=c["diffusion_steps"],
        num_inference_steps=c["num_sampling_steps"], learn_sigma=c["learn_sigma"], sigma_small=c["sigma_small"],
    )  # fmt: skip
    head = DiffusionHead(config, c["target_channels"], c["target_size"], c["z_channels"], c["condition_tokens"])
    head.load_state_dict(case.state_dict)
    return head.train(c["mode"] == "train")


@runner("motiongpt3.diffusion_head")
@torch.no_grad()
def diffusion_head(case: Case) -> dict:
    head = load_head(case)
    target, z, t, noise = (case.tensor(name) for name in ("target", "z", "t", "noise"))
    terms = head.loss_terms(target, z, t, noise)
    out = {
        "x_t": head.chain.noised(target, t, noise), "model_out": head.net(case.tensor("x_t"), t, z),
        "mse_per_sample": terms["mse"], "loss_per_sample": head.loss(target, z, t, noise),
        "loss_mean": head.loss(target, z, t, noise).mean(),
    }  # fmt: skip
    if "bound" in terms:
        out["vb_per_sample"] = terms["bound"]
    out["traj_nocfg"], out["pred_x0_last_nocfg"] = trajectory(head, case, "noise_nocfg")
    out["final_nocfg"] = out["traj_nocfg"][-1]
    if "noise_cfg" in case.arrays:
        null, scale = case.tensor("uncond_z"), float(case.arrays["cfg_scale"])
        temperature = float(case.arrays["temperature"])
        out["traj_cfg_first_half"], _ = trajectory(head, case, "noise_cfg", scale, null, temperature)
        out["final_cfg"] = out["traj_cfg_first_half"][-1]
    for prefix, chain in (("train", head.chain), ("gen", head.short_chain)):
        out[f"{prefix}_betas"], out[f"{prefix}_alphas_cumprod"] = chain.betas, chain.alphas_cumprod
    out["gen_timestep_map"] = head.short_chain.timesteps
    out["gen_posterior_variance"] = head.short_chain.posterior_variance
    return out


def trajectory(head: DiffusionHead, case: Case, name: str, scale=1.0, null=None, temperature=1.0) -> tuple:
    """States of the fast sampler (steps, B, S, C) and the plain one's last prediction; the two must agree."""
    z, first = case.tensor("z"), case.tensor("x_T")
    noise = torch.cat((first[:, None], case.tensor(name)[:, : len(first)].transpose(0, 1)), 1)
    states = []
    head.sample(z, noise, scale, null, temperature, on_step=lambda done, total, state: states.append(state))
    plain = list(PlainSampler(head.net, head.short_chain).run(head.guidance(z, scale, null), noise, temperature))
    torch.testing.assert_close(torch.stack(states), torch.stack([step.state for step in plain]), atol=2e-5, rtol=1e-5)
    return torch.stack(states), plain[-1].clean
