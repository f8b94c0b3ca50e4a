"""Where the rotations of a stream put the joints, worked out apart from the package."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from mld.serve.client import Client


def placed_joints(address: str, words: str, seconds: float) -> np.ndarray:
    """World positions (n, J, 3) of a stream of rotations with seed 0, y up."""

    async def listen() -> np.ndarray:
        async with Client(address).stream(words, seconds=seconds, data="rotations") as stream:
            chunks = [chunk async for chunk in stream]
        root, turns = (np.concatenate([getattr(one, name) for one in chunks]) for name in ("positions", "rotations"))
        return _placed(stream.about, root, turns)

    return asyncio.run(listen())


def _placed(about: dict[str, Any], root: np.ndarray, turns: np.ndarray) -> np.ndarray:
    world: list[tuple[np.ndarray, np.ndarray]] = []
    for joint, (offset, parent) in enumerate(zip(about["offsets"], about["parents"])):
        x, y, z, w = turns[:, joint].T
        rows = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
                2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
                2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]  # fmt: skip
        own = np.stack(rows, -1).reshape(-1, 3, 3)
        if parent < 0:
            world.append((root, own))
        else:
            above, turned = world[parent]
            world.append((above + turned @ np.array(offset), turned @ own))
    return np.stack([at for at, _ in world], axis=1)
