"""How much memory is free, and what to say where it does not suffice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from mld.errors import CheckpointError

GIB = 2**30
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_memory(device: str | torch.device) -> int | None:
    """Bytes that can be had on a device; None where the system does not tell. Of the CPU: what is free or can be freed,
    swap included, within the limit that a container has."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    known = [found for found in (_system(), _container()) if found is not None]
    return min(known, default=None)


def require(needed: Mapping[str, int], chosen: str, device: str | torch.device, where: str) -> None:
    """`CheckpointError` where the weights do not fit on the device; it names the best choice that would.

    needed: bytes by choice, most exact first."""
    free = free_memory(device)
    if free is None or needed[chosen] <= free:
        return
    fits = [name for name, size in needed.items() if size <= free]
    cure = f"--weights {fits[0]} takes {gib(needed[fits[0]])}" if fits else "none of them fits here"
    raise CheckpointError(
        f"{where}: {chosen} weights take {gib(needed[chosen])}, {gib(free)} are free on {device}; {cure}"
    )


def gib(size: float) -> str:
    """`14.6 GiB`, small ones with more digits."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / GIB:.2g} GiB"


def _system() -> int | None:
    text = _read(MEMINFO)
    found = dict(re.findall(r"^(MemAvailable|SwapFree):\s+(\d+) kB", text, re.M))
    return 1024 * sum(map(int, found.values())) if "MemAvailable" in found else None


def _container() -> int | None:
    """What a control group (version 2) leaves; pages of files count as free."""
    limit, used = _read(CGROUP / "memory.max").strip(), _read(CGROUP / "memory.current").strip()
    if not (limit.isdigit() and used.isdigit()):
        return None
    files = re.search(r"^file (\d+)$", _read(CGROUP / "memory.stat"), re.M)
    return max(0, int(limit) - int(used) + (int(files[1]) if files else 0))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
