"""Steps of reverse diffusion: the ancestral one, and solvers of the same process without noise, which need fewer.

Without noise the states follow an ordinary differential equation (Song et al. 2021). DDIM is its solver of first order,
DPM-Solver++ 2M one of second order, which goes on from the last two clean predictions (Lu et al. 2022, algorithm 2);
both are exact where the clean prediction does not change, or changes evenly in log signal over noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mld.models.heads.diffusion_process import Chain


class State(NamedTuple):
    """After a step: the state (B, S, C) and the clean data that was predicted in it."""

    state: Tensor
    clean: Tensor


class Solver(Protocol):
    """Goes through the steps of one chain, last to first."""

    def back(
        self, state: Tensor, epsilon: Tensor, values: Tensor | None, step: int, noise: Tensor, temperature: float
    ) -> State:
        """The state (B, S, C) before `step`, from that at it, the noise that was predicted there, the variance values
        where they are learned, and fresh noise."""
        ...


def _clean(chain: Chain, state: Tensor, epsilon: Tensor, step: int) -> Tensor:
    of_state, of_noise = chain.numbers("clean_from_state")[step], chain.numbers("clean_from_noise")[step]
    return of_state * state - of_noise * epsilon


class Ancestral:
    """Ho et al. 2020: the mean of the state before, and noise of the variance that the chain has."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def back(
        self, state: Tensor, epsilon: Tensor, values: Tensor | None, step: int, noise: Tensor, temperature: float
    ) -> State:
        chain, clean = self.chain, _clean(self.chain, state, epsilon, step)
        mean = chain.numbers("mean_from_clean")[step] * clean + chain.numbers("mean_from_state")[step] * state
        if not step:
            return State(mean, clean)
        if values is None:  # plain numbers where the table is the same for all rows
            spread = math.exp(chain.numbers("fixed_log_variance")[step] / 2)
            return State(torch.add(mean, noise, alpha=spread * temperature), clean)
        t = torch.full((1,), step, device=state.device)
        spread = torch.exp(chain.log_variance(t, values) / 2)
        return State(torch.addcmul(mean, spread, noise, value=temperature), clean)


class Deterministic:
    """DDIM (order 1) or DPM-Solver++ 2M (order 2); the last step, to no noise at all, is of first order in both. Noise,
    temperature and variance play no part."""

    def __init__(self, chain: Chain, order: int) -> None:
        self.chain, self.order = chain, order
        self.log_ratio = (chain.signal_scale / chain.noise_scale).log().tolist()
        self.before: Tensor | None = None

    def back(
        self, state: Tensor, epsilon: Tensor, values: Tensor | None, step: int, noise: Tensor, temperature: float
    ) -> State:
        chain, clean = self.chain, _clean(self.chain, state, epsilon, step)
        if not step:
            return State(clean, clean)
        stride = self.log_ratio[step - 1] - self.log_ratio[step]
        aim = clean
        if self.order == 2 and self.before is not None:
            last = self.log_ratio[step] - self.log_ratio[step + 1]
            aim = torch.add(clean, clean - self.before, alpha=stride / (2 * last))
        self.before = clean
        spread, gained = chain.numbers("noise_scale"), chain.numbers("signal_scale")[step - 1]
        kept = spread[step - 1] / spread[step]
        return State(torch.add(kept * state, aim, alpha=-gained * math.expm1(-stride)), clean)


SOLVERS: dict[str, Callable[[Chain], Solver]] = {
    "ddpm": Ancestral, "ddim": partial(Deterministic, order=1), "dpm++": partial(Deterministic, order=2),
}  # fmt: skip
