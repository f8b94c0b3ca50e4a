"""The task mixture: how often each sub-task of an instruction set is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mld.errors import ConfigError, nearest


class Mixture:
    """Sub-tasks with weights. `weights` names sub-tasks ("group/subtask") or groups, whose weight each of their
    sub-tasks gets unless it is named itself; what is not named is not drawn. No weights: every sub-task alike."""

    def __init__(self, subtasks: Sequence[str], weights: Mapping[str, float]) -> None:
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

    @property
    def drawn(self) -> tuple[str, ...]:
        """The sub-tasks that are ever drawn."""
        return tuple(name for name, share in zip(self.subtasks, self.probabilities) if share > 0)

    def draw(self, rng: np.random.Generator) -> str:
        """A sub-task name."""
        return self.subtasks[rng.choice(len(self.subtasks), p=self.probabilities)]
