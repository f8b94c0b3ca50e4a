"""The diffusion head: latents (S, C) from hidden states of a backbone (MotionGPT3 spec 4, MotionStreamer spec 5).

`loss` is the training side, `draw_noise` and `sample` the generating one. All randomness of sampling is an argument,
one generator per row, so that a row is the same alone and in any batch, on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.models.contracts.sampling import StepHook
from mld.models.heads import diffusion_schedule
from mld.models.heads.diffusion_network import ConditionPooling, DenoisingNetwork, EndToEnd
from mld.models.heads.diffusion_process import Chain
from mld.models.heads.diffusion_sampling import FusedSampler, Guidance
from mld.models.heads.diffusion_solvers import SOLVERS
from mld.models.heads.preconditioning import LinearPrior
from mld.models.sizes import check_sizes

PREDICTIONS = ("epsilon", "v")


@dataclass
class DiffusionHeadConfig:
    """Defaults are those of MotionGPT3. pooling: conditions meet in a transformer layer; without it they are laid end
    to end. noise_schedule: scaled_linear (0.00085 to 0.012, linear in fact), linear or cosine over diffusion_steps.
    num_inference_steps: "100", "10,20" (parts) or "ddim50" (a whole stride; the name says no more).
    sampler: ddpm (ancestral, as published), ddim or dpm++ (without noise after the first state, for few steps).
    learn_sigma: the network also gives the variance, trained by the variational bound; else sigma_small chooses the
    posterior's variance, or beta. zero_init: every block starts as the identity (MotionStreamer; not MotionGPT3).
    precondition: add the noise that Gaussian targets would have, for heads narrower than their targets (ours).
    prediction: epsilon, or v (ours for small models): of a chain that begins in pure noise, as the cosine one, an error
    in epsilon becomes a clean target hundreds of times too large, an error in v never."""

    width: int = 1024
    depth: int = 3
    pooling: bool = True
    num_pooling_heads: int = 4
    pooling_dropout: float = 0.1
    noise_schedule: str = "scaled_linear"
    diffusion_steps: int = 1000
    num_inference_steps: str = "100"
    learn_sigma: bool = False
    sigma_small: bool = True
    zero_init: bool = False
    precondition: bool = False
    prediction: str = "epsilon"
    sampler: str = "ddpm"

    def __post_init__(self) -> None:
        if self.sampler not in SOLVERS:
            raise ConfigError(f"head: sampler '{self.sampler}' is not one of {', '.join(SOLVERS)}")
        check_sizes(self, ("width", "depth", "num_pooling_heads", "diffusion_steps"), shares=("pooling_dropout",))
        if self.prediction not in PREDICTIONS:
            raise ConfigError(f"head: prediction '{self.prediction}' is not one of {', '.join(PREDICTIONS)}")


class DiffusionHead(nn.Module):
    """Targets are (N, target_size, target_channels), conditions (N, num_conditions, condition_channels).

    `chain` is the one of training, `short_chain` the one of sampling with `steps` steps.
    """

    def __init__(
        self,
        config: DiffusionHeadConfig,
        target_channels: int,
        target_size: int,
        condition_channels: int,
        num_conditions: int,
    ) -> None:
        super().__init__()
        sizes = (config.width, config.depth, config.num_pooling_heads)
        if min(*sizes, target_channels, target_size, condition_channels, num_conditions) < 1:
            raise ConfigError("diffusion head: width, depth, heads, target and condition sizes must be at least 1")
        self.config = config
        self.target_shape = (target_size, target_channels)
        self.condition_shape = (num_conditions, condition_channels)
        variance = "learned" if config.learn_sigma else "small" if config.sigma_small else "large"
        self.chain = Chain(diffusion_schedule.betas(config.noise_schedule, config.diffusion_steps), variance)
        self.short_chain = self.chain.respaced(config.num_inference_steps)
        self.net = DenoisingNetwork(
            target_channels, target_channels * (2 if config.learn_sigma else 1), config.width, config.depth,
            self._condition_embedding(), self._prior(),
        )  # fmt: skip
        if config.zero_init:
            self.net.zero_start()

    def _prior(self) -> LinearPrior | None:
        measured, scaled = self.config.precondition, self.config.prediction == "v"
        if not (measured or scaled):
            return None
        if self.config.learn_sigma:
            raise ConfigError("head: learn_sigma goes with neither precondition nor prediction 'v'; switch one off")
        return LinearPrior(self.chain.alphas_cumprod, self.target_shape, measured, scaled)

    def _condition_embedding(self) -> nn.Module:
        c, (conditions, channels) = self.config, self.condition_shape
        if not c.pooling:
            return EndToEnd(conditions * channels, c.width)
        return ConditionPooling(
            channels, conditions, self.target_shape[0], c.width, c.num_pooling_heads, c.pooling_dropout
        )

    @property
    def steps(self) -> int:
        """Network evaluations per sample (each for both kinds of rows under guidance)."""
        return len(self.short_chain)

    def respace(self, request: str, sampler: str | None = None) -> None:
        """Sample in other steps from now on, and by another sampler; see `DiffusionHeadConfig`."""
        config = replace(self.config, num_inference_steps=request, sampler=sampler or self.config.sampler)
        self.short_chain, self.config = self.chain.respaced(request), config

    def loss_terms(
        self, target: Tensor, condition: Tensor, t: Tensor | None = None, noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Per row (N,) float32: "mse" of what is predicted and, with learn_sigma, "bound" in bits.

        target (N, S, C) clean latents; condition (N, K, Z). t (N,) in 0..diffusion_steps-1 and noise (N, S, C) are
        drawn from torch's global generator where they are not given.
        """
        target = target.float()
        if self.training and self.net.prior is not None:
            self.net.prior.measure(target)
        if t is None:
            t = torch.randint(len(self.chain), (len(target),), device=target.device)
        if noise is None:
            noise = torch.randn_like(target)
        state = self.chain.noised(target, t, noise)
        output = self.net(state, t, condition).float()
        epsilon, values = output.chunk(2, -1) if self.config.learn_sigma else (output, None)
        error = noise - epsilon
        if self.config.prediction == "v":
            error = error / self.net.prior.scale(t)
        terms = {"mse": error.square().flatten(1).mean(1)}
        if values is not None:
            terms["bound"] = self.chain.bound(target, state, t, epsilon, values)
        return terms

    def loss(self, target: Tensor, condition: Tensor, t: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """The sum of `loss_terms` (N,)."""
        return torch.stack(list(self.loss_terms(target, condition, t, noise).values())).sum(0)

    @torch.no_grad()
    def predict_clean(self, target: Tensor, condition: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What the network takes targets (N, S, C) for after noise at timesteps t (N,), float32; not clipped."""
        state = self.chain.noised(target, t, noise)
        epsilon = self.net(state, t, condition).float()
        return self.chain.clean(state, t, epsilon[..., : target.shape[-1]])

    def draw_noise(self, seeds: Sequence[int]) -> Tensor:
        """Noise (B, steps + 1, S, C) float32 on the head's device: a generator per row; [:, 0] is the initial state."""
        rows = [
            torch.randn(self.steps + 1, *self.target_shape, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        return torch.stack(rows).to(self.net.input_proj.weight.device)

    @torch.no_grad()
    def sample(
        self,
        condition: Tensor,
        noise: Tensor,
        guidance_scale: float = 1.0,
        null_condition: Tensor | None = None,
        temperature: float = 1.0,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """Latents (B, S, C) float32 for condition (B, K, Z) and noise (B, steps + 1, S, C).

        guidance_scale > 1 needs null_condition, (K, Z) for all rows or (B, K, Z): epsilon is moved away from the
        unconditional one by that factor; a scale up to 1 is no guidance. temperature scales the noise of the steps,
        not the initial state. Raises `ConfigError` without null_condition, ValueError for a wrong shape of the noise.
        """
        guidance = self.guidance(condition, guidance_scale, null_condition)
        wanted = (len(condition), self.steps + 1, *self.target_shape)
        if noise.shape != wanted:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, {wanted} is needed")
        state = noise[:, 0]
        sampler = FusedSampler(self.net, self.short_chain, SOLVERS[self.config.sampler])
        run = sampler.run(guidance, noise, temperature)
        for done, (state, _) in enumerate(run, start=1):
            if on_step is not None:
                on_step(done, self.steps, state)
        return state

    @staticmethod
    def guidance(condition: Tensor, scale: float = 1.0, null_condition: Tensor | None = None) -> Guidance:
        """What a sampler evaluates: the conditions and, where the scale asks for it, the unconditional ones."""
        if scale <= 1:
            return Guidance(condition)
        if null_condition is None:
            raise ConfigError(f"guidance_scale {scale} needs a model trained with an unconditional condition; use 1.0")
        null = null_condition if null_condition.dim() == 3 else null_condition[None]
        return Guidance(condition, null, scale)
