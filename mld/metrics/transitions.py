"""Smoothness where one action goes over into the next: peak jerk, area under the jerk (evaluation spec 4.8, FlowMDM).

The jerk of windows around transitions is averaged into a curve; its maximum is the peak, its distance from the mean
jerk of real motion, summed over frames, the area. Values hold for one frame rate and one set of real clips only.
Mode "upstream" counts frames beyond the end of a short window as still, "strict" leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.errors import DataError
from mld.metrics.items import ItemMetric, Items, attempt
from mld.metrics.mode import Mode
from mld.metrics.physical import jerk
from mld.metrics.results import Score


@dataclass(frozen=True)
class RealJerk:
    """Mean jerk of real clips, metres per frame cubed, at `fps`, and the window length in frames that goes with it."""

    value: float
    fps: float
    window: int


REAL_JERK = {"humanml3d": RealJerk(0.033031363, 20.0, 60), "babel": RealJerk(0.016383045, 30.0, 30)}


def windows_around(joints: Tensor, transitions: Sequence[int], length: int) -> tuple[Tensor, Tensor]:
    """Windows centred on transition frames: joints (T, J, 3) -> (N, length, J, 3) and the number of real frames of each
    (N,). A window that leaves the motion keeps the frames inside, its rest repeats the last one."""
    windows, lengths = [], []
    for frame in transitions:
        start = max(0, frame - length // 2)
        inside = joints[start : max(start + 1, frame - length // 2 + length)]
        windows.append(torch.cat((inside, inside[-1:].expand(length - len(inside), -1, -1))))
        lengths.append(len(inside))
    return torch.stack(windows), torch.tensor(lengths)


def window_jerk(windows: Tensor, lengths: Tensor) -> Tensor:
    """`jerk` of windows (N, L, J, 3), 0 from frame length - 3 on: lengths (N,) -> (N, L - 3)."""
    found = jerk(windows)
    return torch.where(torch.arange(found.shape[1], device=found.device) < lengths[:, None] - 3, found, 0)


def jerk_curve(windows_jerk: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean over windows (N, L - 3) -> (L - 3,). With lengths only over the windows that reach the frame; frames that
    none reaches are left out at the end."""
    if lengths is None:
        return windows_jerk.mean(0)
    reached = (torch.arange(windows_jerk.shape[1]) < lengths[:, None] - 3).sum(0)
    return windows_jerk.sum(0)[reached > 0] / reached[reached > 0]


def peak_jerk(curve: Tensor) -> Tensor:
    """The largest value of a curve (L - 3,)."""
    return curve.max()


def area_under_jerk(curve: Tensor, real: float) -> Tensor:
    """Sum over frames of the distance of a curve (L - 3,) from the mean jerk of real motion."""
    return (curve - real).abs().sum()


def measure_real_jerk(clips: Iterable[Tensor]) -> float:
    """Mean jerk over all frames of real clips (T, J, 3): the constant for data of another kind or frame rate."""
    values = [jerk(clip.double()) for clip in clips if len(clip) > 3]
    if not values:
        raise DataError("no clip of 4 frames or more to measure the jerk of real motion on")
    return float(torch.cat(values).mean())


class TransitionJerk(ItemMetric):
    """peak_jerk and area_under_jerk of windows around transitions, metres per frame cubed; the items are windows.

    real: name in `REAL_JERK`, a value measured by `measure_real_jerk`, or None: then there is no area."""

    columns = ("jerk", "lengths")
    names = ("peak_jerk", "area_under_jerk")

    def __init__(self, real: str | float | None, mode: Mode = "strict") -> None:
        super().__init__()
        if isinstance(real, str) and real not in REAL_JERK:
            raise DataError(f"no jerk of real motion named '{real}'; known: {', '.join(REAL_JERK)}")
        self.real, self.mode = REAL_JERK[real].value if isinstance(real, str) else real, mode

    def update(self, windows: Tensor, lengths: Tensor, ids: Sequence[int] | Tensor | None = None) -> None:
        """windows: (B, L, J, 3) metres. lengths (B,): real frames of each, at most L."""
        lengths = torch.as_tensor(lengths)
        self._add(ids, jerk=window_jerk(windows.double(), lengths), lengths=lengths)

    def measure(self, items: Items) -> dict[str, Score]:
        unit = "m/frame^3"

        def smoothness() -> dict[str, Score]:
            items.require("jerk")
            if int(items["lengths"].max()) < 4:
                raise DataError("no window has 4 frames or more")
            curve = jerk_curve(items["jerk"], items["lengths"] if self.mode == "strict" else None)
            found = {"peak_jerk": Score(float(peak_jerk(curve)), unit, len(items))}
            if self.real is None:
                reason = "the jerk of real motion of this kind and frame rate is not known; measure it on real clips"
                return found | {"area_under_jerk": Score(None, unit, len(items), reason)}
            return found | {"area_under_jerk": Score(float(area_under_jerk(curve, self.real)), unit, len(items))}

        return attempt(self.names, smoothness)
