"""Prints what the fuzzing did, by format, at the end of a run with MLD_FUZZ_EXAMPLES."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.motion.motion import Motion
from tests.motion.fuzz import guard, seeds


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """One folder for all examples. Every format has been opened once, so that imports do not count as memory."""
    warm = tmp_path_factory.mktemp("warm")
    for suffix in (".bvh", ".npz", ".glb", ".csv", ".json", ".npy"):
        (warm / f"walk{suffix}").write_bytes(seeds.saved(suffix))
        Motion.load(warm / f"walk{suffix}")
    (warm / "walk.pt").write_bytes(seeds.tensor())
    Motion.load(warm / "walk.pt")
    return tmp_path_factory.mktemp("fuzz")


def pytest_terminal_summary(terminalreporter) -> None:
    if not guard.DEEP or not guard.COUNTS:
        return
    terminalreporter.section("fuzzed files")
    for kind in sorted({kind for kind, _ in guard.COUNTS}):
        parts = {what: count for (other, what), count in sorted(guard.COUNTS.items()) if other == kind}
        terminalreporter.line(f"{kind:5} {sum(parts.values()):7} files: "
                              + ", ".join(f"{count} {what}" for what, count in parts.items()))
    terminalreporter.line(f"total {sum(guard.COUNTS.values()):7} files")
