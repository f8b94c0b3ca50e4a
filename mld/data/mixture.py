"""The task mixture: how often each sub-task of an instruction set is drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mld.errors import ConfigError, nearest


class Mixture:
    """Sub-tasks with weights. `weights` names sub-tasks ("group/subtask") or groups, whose weight each of their
    sub-tasks gets unless it is named itself; what is not named is not drawn. No weights: every sub-task alike.
    referring: those whose condition is a reference motion."""

    def __init__(
        self, subtasks: Sequence[str], weights: Mapping[str, float], referring: Collection[str] = ()
    ) -> None:
        groups = [name.split("/")[0] for name in subtasks]
        for key, weight in weights.items():
            if key not in subtasks and key not in groups:
                hint = nearest(key, [*subtasks, *groups], cutoff=0)
                raise ConfigError(f"data.tasks: no sub-task or group '{key}'; {hint}")
            if not weight >= 0:
                raise ConfigError(f"data.tasks: the weight of '{key}' is {weight}; it must not be negative")
        given = [
            weights.get(name, weights.get(group, 0.0)) if weights else 1.0 for name, group in zip(subtasks, groups)
        ]
        if not sum(given) > 0:
            raise ConfigError("data.tasks: all weights are zero; give at least one sub-task a positive weight")
        self.subtasks = tuple(subtasks)
        self.probabilities = np.asarray(given, dtype=float) / sum(given)
        self.refers = np.array([name in referring for name in subtasks], dtype=bool)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The sub-tasks that are ever drawn."""
        return tuple(name for name, share in zip(self.subtasks, self.probabilities) if share > 0)

    def draw(self, rng: np.random.Generator, text_share: float | None = None) -> str:
        """A sub-task name. text_share: how often one without a reference motion, where some have one and others not."""
        return self.at(rng.random(), text_share)

    def at(self, uniform: float, text_share: float | None = None) -> str:
        """The sub-task that a number from 0 to below 1 stands for; those that come first have the smallest."""
        ends = self.shares(text_share).cumsum()
        return self.subtasks[int((ends / ends[-1]).searchsorted(uniform, side="right"))]

    def shares(self, text_share: float | None = None) -> np.ndarray:
        """How often each sub-task is drawn (S,), sum 1. Those of one kind keep their proportions."""
        given, refers = self.probabilities, self.refers
        if text_share is None or not given[refers].sum() or not given[~refers].sum():
            return given
        return given * np.where(refers, (1 - text_share) / given[refers].sum(), text_share / given[~refers].sum())
