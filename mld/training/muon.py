"""Muon: steps of matrices are orthogonalised, so that small directions of a gradient count as much as large ones.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", with the scale of Liu et al. 2025, "Muon
is scalable for LLM training": a step of a matrix is as large as one of AdamW, so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = 3.4445, -4.7750, 2.0315  # a x + b x^3 + c x^5 brings singular values from (0, 1] to around 1
AS_ADAM = 0.2  # root mean square of a step of AdamW, in learning rates
SMALLEST = 16  # what has fewer rows or columns is no matrix that could be orthogonalised to any use


class Muon(Optimizer):
    """Muon for matrices, AdamW for everything else: biases, norms, and groups with `matrices: false` (embeddings).
    Kernels of convolutions are matrices with a row for each channel that they make.

    params: parameters, or groups of them. lr: learning rate of both; weight_decay: of both, decoupled. momentum: of
    matrices. newton_steps: of the iteration that orthogonalises. betas, eps: of AdamW. matrices: whether matrices of
    a group are orthogonalised. Among several processes with the same gradients (DDP) each orthogonalises its share.
    `ValueError` for settings, also of a group, that cannot be.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-4,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        newton_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        matrices: bool = True,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "newton_steps": newton_steps, "betas": betas,
            "eps": eps, "matrices": matrices,
        })  # fmt: skip

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found: list[tuple[nn.Parameter, dict[str, Any]]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["matrices"] and is_matrix(parameter):
                    found.append((parameter, group))
                else:
                    self._adam(parameter, group)
        wanted = [self._direction(parameter, group) for parameter, group in found]
        steps = orthogonal(wanted, [group["newton_steps"] for _, group in found])
        for (parameter, group), step in zip(found, steps, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            scale = AS_ADAM * max(step.shape) ** 0.5
            parameter.add_(step.view_as(parameter), alpha=-group["lr"] * scale)
        return loss

    def _direction(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        """The gradient with Nesterov's momentum, as a matrix."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        kept = state["momentum_buffer"]
        kept.lerp_(parameter.grad, 1 - group["momentum"])
        return parameter.grad.lerp(kept, group["momentum"]).reshape(len(parameter), -1)

    def _adam(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state, (fast, slow) = self.state[parameter], group["betas"]
        if not state:
            state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(parameter))
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        count, mean, square = float(state["step"]), state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(parameter.grad, 1 - fast)
        square.mul_(slow).addcmul_(parameter.grad, parameter.grad, value=1 - slow)
        spread = (square / (1 - slow**count)).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, spread, value=-group["lr"] / (1 - fast**count))


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter (N, ...) is a matrix with enough rows and columns to be orthogonalised."""
    return parameter.ndim > 1 and len(parameter) >= SMALLEST and parameter[0].numel() >= SMALLEST


def _check(group: dict[str, Any]) -> None:
    def number(name: str, value: Any, below: float = float("inf")) -> None:
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < below):
            told = "a number from 0 on" if below == float("inf") else f"a number from 0 to below {below:g}"
            raise ValueError(f"{name} is {value!r}, expected {told}")

    for name in ("lr", "weight_decay", "eps"):
        number(name, group[name])
    number("momentum", group["momentum"], 1.0)
    betas = group["betas"]
    if not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise ValueError(f"betas are {betas!r}, expected two numbers from 0 to below 1")
    for beta in betas:
        number("a number of betas", beta, 1.0)
    if not isinstance(group["newton_steps"], int) or group["newton_steps"] < 1:
        raise ValueError(f"newton_steps is {group['newton_steps']!r}, expected a whole number from 1 on")
    if not isinstance(group["matrices"], bool):
        raise ValueError(f"matrices is {group['matrices']!r}, expected true or false")


def orthogonal(matrices: Sequence[Tensor], newton_steps: Sequence[int]) -> list[Tensor]:
    """The nearest matrices whose singular values are all (about) 1. Of several processes, which hold the same matrices,
    each computes its share and tells the others."""
    count = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    if count == 1:
        return [newton_schulz(matrix, steps) for matrix, steps in zip(matrices, newton_steps, strict=True)]
    made, rank = [torch.empty_like(matrix) for matrix in matrices], torch.distributed.get_rank()
    owners = shares([_work(matrix) for matrix in matrices], count)
    for number, (matrix, steps, owner) in enumerate(zip(matrices, newton_steps, owners, strict=True)):
        if owner == rank:
            made[number].copy_(newton_schulz(matrix, steps))
    for owner in range(count):
        told = [made[number] for number in range(len(made)) if owners[number] == owner]
        if told:
            together = torch.cat([one.flatten() for one in told])
            torch.distributed.broadcast(together, src=owner)
            for one, part in zip(told, together.split([one.numel() for one in told]), strict=True):
                one.copy_(part.view_as(one))
    return made


def newton_schulz(matrix: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal factor of a matrix (M, N), nearly: its singular values come to lie around 1, and stay 0 where they
    are."""
    a, b, c = QUINTIC
    half = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = half.shape[0] > half.shape[1]
    x = half.T if tall else half
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def shares(work: Sequence[float], count: int) -> list[int]:
    """Which of `count` processes does each piece of work, so that all have about as much: the largest first."""
    owners, loads = [0] * len(work), [0.0] * count
    for number in sorted(range(len(work)), key=lambda number: -work[number]):
        owner = loads.index(min(loads))
        owners[number] = owner
        loads[owner] += work[number]
    return owners


def _work(matrix: Tensor) -> float:
    short, long = sorted(matrix.shape)
    return float(2 * short**2 * long + short**3)
