"""Which release statistics of motions belong to: weights of one give nonsense with those of the other (spec 1.9).

In December 2025 statistics were published that count many frames as without a rotation of the root; with the weights of
the full release they were replaced.
"""

from __future__ import annotations

import hashlib

from torch import Tensor

from mld.errors import CheckpointError
from mld.motion.normalizer import Normalizer

FULL, DECEMBER = "full", "december"
HASHES = (  # sha256 of mean and std of the full release, as float32
    "6ec72662bdebbc48ebd68c01f1e318c8abf9113545fed94a476c765219b61aac",
    "5759aa18e2e3b8a427fac6d061cd9eedadd0d477a2745a62045db8e09ef08819",
)
_TURNS = (264, 267)  # of the root between two frames: the entries that are 1 where it does not turn
# Mean and std there are 0.692 to 0.694 and 0.29 in December, 0.999 and 0.007 later. A body that spins has others.
_EARLY, _NEAR = (0.693, 0.29), 0.05


def check_release(statistics: Normalizer, told: str, where: str) -> str:
    """A note on what the statistics are. told: `FULL`, or `DECEMBER` for weights of that time. `CheckpointError` where
    they are of the other one."""
    if told not in (FULL, DECEMBER):
        raise CheckpointError(f"--set release={told}: there are {FULL} and {DECEMBER}")
    early = release_of(statistics) == DECEMBER
    if early and told == FULL:
        raise CheckpointError(
            f"{where}: statistics of the release of December 2025; weights published later need the later mean.npy and"
            f" std.npy. For weights of December: --set release={DECEMBER}"
        )
    if told == DECEMBER and not early:
        raise CheckpointError(f"{where}: not the statistics of December 2025, which release={DECEMBER} asks for")
    if early:
        return "statistics of December 2025"
    published = (digest(statistics.mean), digest(statistics.std)) == HASHES
    return "statistics are the published ones" if published else (
        "statistics are not those of the published weights; of a training of your own they have to be its own"
    )


def release_of(statistics: Normalizer) -> str:
    """`DECEMBER` for statistics that look like those of that release, else `FULL`, own ones included."""
    columns = list(_TURNS)
    pairs = zip((statistics.mean, statistics.std), _EARLY)
    early = statistics.width > max(_TURNS) and all(
        bool(((values[columns] - usual).abs() < _NEAR).all()) for values, usual in pairs
    )
    return DECEMBER if early else FULL


def digest(values: Tensor) -> str:
    """sha256 of values (D,) as little-endian float32."""
    return hashlib.sha256(values.float().cpu().numpy().astype("<f4").tobytes()).hexdigest()
