"""Damaged files, folders and requests of every kind: each is used, or ends in an error of the product.

Anything else fails the test: another exception, a long message, a hang, too much memory. `MLD_FUZZ_EXAMPLES` sets how
many of each kind are tried; `python -m tests.wild.fuzz` does the same by the thousand and prints what it found.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.motion.fuzz.guard import EXAMPLES
from tests.wild.fuzz.harness import explore
from tests.wild.fuzz.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_fuzz(kind: str, tmp_path: Path) -> None:
    report = explore(kind, KINDS[kind](tmp_path), tmp_path, EXAMPLES)
    assert not report.findings, "\n".join([str(report), *(f"{name}: {how}" for name, how in report.findings.items())])
    assert report.counts["refused"] or kind in ("headers", "token_stores"), "nothing was damaged"
