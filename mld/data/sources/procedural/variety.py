"""What makes two clips of the same action differ: where the feet stand first, posture, sway, arms at the beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mld.data.sources.procedural.actions import Action, either
from mld.data.sources.procedural.manners import place_arms
from mld.data.sources.procedural.stage import SIDES, Stage, ramp

SWAYING = {
    "left": 0.006,
    "forward": 0.006,
    "tilt": 0.012,
    "lean": 0.01,
    "twist": 0.015,
    "head_twist": 0.05,
    "head_tilt": 0.03,
    "left_fwd": 0.02,
    "right_fwd": 0.02,
    "left_flex": 0.03,
    "right_flex": 0.03,
}  # m or rad


@dataclass(frozen=True)
class Variety:
    """What is drawn.

    ahead: metres by which the left foot stands ahead of the right one at first; apart: metres wider; arms: where they
    are kept until `until` (s), crouch: metres lower until then; posture: added to curves for the whole clip; sway: rate
    (Hz), phase (rad) and size of two waves for each curve of `SWAYING`."""

    ahead: float = 0.0
    apart: float = 0.0
    arms: str = ""
    crouch: float = 0.0
    until: float = 0.0
    posture: tuple[tuple[str, float], ...] = ()
    sway: np.ndarray | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator, first: Action, before: float) -> Variety:
        """before: seconds until the first action. Arms that hang are told in no caption, so they may be elsewhere."""
        ahead = float(rng.uniform(-0.2, 0.2)) if rng.random() < 0.25 else 0.0
        apart = float(rng.uniform(0.02, 0.12)) if rng.random() < 0.25 else 0.0
        kept = either(rng, "hips", "behind", "crossed", "front", "out") if first.travels and rng.random() < 0.08 else ""
        if first.name == "stand" or first.words.get("how"):
            ahead, apart, kept = 0.0, 0.0, ""
        posture = (
            ("tilt", float(rng.normal(0, 0.03))),
            ("head_tilt", float(rng.normal(-0.06, 0.07))),
            ("pelvis_tilt", float(rng.normal(0, 0.015))),
        )
        sway = np.stack(
            [
                rng.uniform(0.08, 0.45, (len(SWAYING), 2)),
                rng.uniform(0, 2 * np.pi, (len(SWAYING), 2)),
                rng.uniform(0.3, 1.2, (len(SWAYING), 2)),
            ]
        )
        crouch = float(rng.uniform(0.04, 0.12)) if first.travels and rng.random() < 0.06 else 0.0
        return cls(ahead, apart, kept, crouch, before + 0.35, posture, sway)

    def prepare(self, stage: Stage) -> None:
        """Set the stage before the actions play on it."""
        for side, way in zip(SIDES, (1.0, -1.0)):
            x, z, yaw = stage.stand(0.0, side)
            if self.ahead or self.apart:
                stage.first[side] = (x + way * self.apart / 2, z + way * self.ahead / 2, yaw)
        stage.add(**{name: np.full(stage.num_frames, amount) for name, amount in self.posture})
        if self.sway is not None:
            rates, phases, sizes = self.sway
            waves = np.sin(2 * np.pi * rates[..., None] * stage.t + phases[..., None]) * sizes[..., None]
            stage.add(**{name: size * wave for (name, size), wave in zip(SWAYING.items(), waves.mean(1))})
        fading = 1.0 - ramp(stage.t, max(0.0, self.until - 0.75), self.until)
        if self.arms:
            place_arms(stage, fading, self.arms)
        stage.add(height=-self.crouch * fading, tilt=1.5 * self.crouch * fading, pelvis_tilt=self.crouch * fading)
