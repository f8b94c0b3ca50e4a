"""Reverse diffusion: an obvious loop over the whole network, and the same with everything hoisted that does not change.

Modulations depend on timestep and condition only. `FusedSampler` pools the condition once and computes the modulations
of many steps in one product per layer, so that a step reads a third of the weights; `PlainSampler` is its oracle.
Guidance evaluates conditional and unconditional rows on the same state in one batch (MotionGPT3 spec 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.models.heads.diffusion_network import NORM_EPS, DenoisingNetwork
from mld.models.heads.diffusion_process import Chain
from mld.models.heads.diffusion_solvers import Ancestral, Solver, State

ROWS_AT_ONCE = 1024  # (step, row) pairs whose modulations are held: 46 MB at width 1024, depth 3


@dataclass(frozen=True)
class Guidance:
    """condition (B, K, Z); null, where the run is guided: one for all (1, K, Z) or one per row (B, K, Z)."""

    condition: Tensor
    null: Tensor | None = None
    scale: float = 1.0

    def conditions(self, shared: bool = False) -> Tensor:
        """All conditions (B, K, Z), or conditional and unconditional ones (2B, K, Z); `shared` keeps a null single."""
        if self.null is None:
            return self.condition
        null = self.null if shared else self.null.expand(len(self.condition), -1, -1)
        return torch.cat((self.condition, null.to(self.condition.dtype)))

    def doubled(self, x: Tensor) -> Tensor:
        """Rows (B, ...) for both kinds of conditions."""
        return x if self.null is None else torch.cat((x, x))

    def split(self, output: Tensor, chain: Chain) -> tuple[Tensor, Tensor | None]:
        """Guided epsilon and, where learned, the conditional rows' variance values, (B, S, C) float32."""
        epsilon, values = output.float(), None
        if chain.variance == "learned":
            epsilon, values = epsilon.chunk(2, -1)
        if self.null is not None:
            epsilon, without = epsilon.chunk(2)
            epsilon = torch.lerp(without, epsilon, self.scale)
            values = values if values is None else values.chunk(2)[0]
        return epsilon, values


class PlainSampler:
    """One network call per step; nothing is reused. Ancestral steps alone."""

    def __init__(self, network: DenoisingNetwork, chain: Chain) -> None:
        self.network, self.chain = network, chain

    @torch.no_grad()
    def run(self, guidance: Guidance, noise: Tensor, temperature: float = 1.0) -> Iterator[State]:
        """States in order; noise (B, steps + 1, S, C) float32 starts with the initial state."""
        state, chain = noise[:, 0], self.chain
        for done, step in enumerate(reversed(range(len(chain)))):
            t = torch.full((len(state),), step, device=state.device)
            original = guidance.doubled(torch.full_like(t, int(chain.timesteps[step])))
            output = self.network(guidance.doubled(state), original, guidance.conditions())
            epsilon, values = guidance.split(output, chain)
            clean = chain.clean(state, t, epsilon)
            spread = torch.exp(chain.log_variance(t, values) / 2) * (temperature if step else 0.0)
            state = chain.mean(clean, state, t) + spread * noise[:, done + 1]
            yield State(state, clean)


class FusedSampler:
    """The same states from far fewer bytes of weights, or those of another solver; holds no weights itself."""

    def __init__(
        self, network: DenoisingNetwork, chain: Chain, solver: Callable[[Chain], Solver] = Ancestral
    ) -> None:
        self.network, self.chain, self.solver = network, chain, solver

    @torch.no_grad()
    def run(self, guidance: Guidance, noise: Tensor, temperature: float = 1.0) -> Iterator[State]:
        """As `PlainSampler.run`."""
        state, solver = noise[:, 0], self.solver(self.chain)
        condition = self.network.cond_embed(guidance.conditions(shared=True))
        order = self._order(len(condition), len(state), guidance, state.device)
        steps = list(reversed(range(len(self.chain))))
        together = max(1, ROWS_AT_ONCE // (2 * len(state) * condition.shape[1]))
        for start in range(0, len(steps), together):
            part = steps[start : start + together]
            times = self.chain.timesteps[part].to(state.device)
            for i, (t, layers) in enumerate(zip(times.unbind(), self._modulations(times, condition, order))):
                rows = guidance.doubled(state)
                output = self.network.with_prior(self._evaluate(rows, layers), rows, t.expand(len(rows)))
                epsilon, values = guidance.split(output, self.chain)
                state, clean = solver.back(state, epsilon, values, part[i], noise[:, start + i + 1], temperature)
                yield State(state, clean)

    @staticmethod
    def _order(conditions: int, batch: int, guidance: Guidance, device: torch.device) -> Tensor | None:
        """Which condition each evaluated row has; None: as they stand. One null condition serves every clip."""
        if guidance.null is None or conditions == 2 * batch:
            return None
        return torch.arange(2 * batch, device=device).clamp(max=batch)

    def _modulations(self, timesteps: Tensor, condition: Tensor, order: Tensor | None) -> Iterator[Sequence]:
        """Per timestep: for every block (gain, offset, gate), for the last layer (gain, offset), each (rows, S', W).

        A norm's own weight and bias are folded in: gain * normalised + offset."""
        network = self.network
        times = network.time_embed(timesteps)
        y = F.silu(times[:, None, None] + condition)

        def spread(table: Tensor) -> Tensor:
            return table if order is None else table.index_select(1, order)

        layers = []
        for block in network.res_blocks:
            shift, scale, gate = block.adaLN_modulation[1](y).chunk(3, -1)
            gain = (1 + scale) * block.in_ln.weight
            offset = (1 + scale) * block.in_ln.bias + shift
            layers.append((spread(gain), spread(offset), spread(gate)))
        shift, scale = network.final_layer.adaLN_modulation[1](y).chunk(2, -1)
        layers.append((spread(1 + scale), spread(shift)))
        return zip(*(zip(*(table.unbind() for table in layer)) for layer in layers))

    def _evaluate(self, x: Tensor, layers: Sequence) -> Tensor:
        """The last layer's output for states (rows, S, C)."""
        network = self.network
        x = network.input_proj(x.to(network.input_proj.weight.dtype))
        width = x.shape[-1:]
        *blocks, (gain, offset) = layers
        for block, (block_gain, block_offset, gate) in zip(network.res_blocks, blocks, strict=True):
            h = torch.addcmul(block_offset, F.layer_norm(x, width, eps=NORM_EPS), block_gain)
            x = torch.addcmul(x, gate, block.mlp(h))
        return network.final_layer.linear(torch.addcmul(offset, F.layer_norm(x, width, eps=NORM_EPS), gain))
