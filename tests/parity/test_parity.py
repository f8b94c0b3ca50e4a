"""Every parity case is a test of its own. A kind without a runner is a visible skip that names the kind."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

from tests.parity import harness, runners

for module in pkgutil.iter_modules(runners.__path__):
    importlib.import_module(f"{runners.__name__}.{module.name}")


@pytest.mark.parametrize("case", harness.all_cases(), ids=lambda case: f"{case.kind}-{case.name}")
def test_case(case: harness.Case) -> None:
    run = harness.RUNNERS.get(case.kind)
    if run is None:
        pytest.skip(f"no runner for kind '{case.kind}' yet")
    problems = harness.check(case, run(case))
    assert not problems, "\n".join(problems)


def test_comparison_sees_a_small_error(tmp_path: Path) -> None:
    """The harness itself: a value off by twice the tolerance, a wrong shape and a missing output are reported."""
    stored = {"pose": np.linspace(-3, 3, 24).reshape(4, 6), "codes": np.arange(5)}
    np.savez(tmp_path / "arrays.npz", **stored)
    outputs = [
        {"name": "pose", "exact": False, "atol": 1e-5, "rtol": 1e-4},
        {"name": "codes", "exact": True, "atol": 0.0, "rtol": 0.0},
    ]
    spec = {"name": "made up", "kind": "none", "config": {}, "data": "arrays.npz", "outputs": outputs}
    case = harness.Case(tmp_path, spec)
    limit = 1e-5 + 1e-4 * 3
    half, whole = ({**stored, "pose": stored["pose"] + share * limit} for share in (0.5, 2))
    assert harness.check(case, stored) == harness.check(case, half) == []
    other = {**stored, "codes": stored["codes"] + (stored["codes"] == 2)}
    short = {**stored, "pose": stored["pose"][1:]}
    unknown = {**stored, "pose": stored["pose"] * np.where(np.arange(6) == 1, np.nan, 1)}
    missing = {"codes": stored["codes"]}
    said = [harness.check(case, wrong) for wrong in (whole, other, short, unknown, missing)]
    assert [len(problems) for problems in said] == [1] * 5
    for problems, words in zip(said, ("max error", "1 of 5 values differ", "shape (3, 6)", "max error", "no value")):
        assert words in problems[0]


def test_comparison_of_axis_angle_and_of_text() -> None:
    """Angles of a half turn more are the same rotation; a wrong one, a wrong word and a wrong number are reported."""
    output = {"name": "pose", "atol": 1e-6, "rtol": 0.0, "exact": False, "compare": "axis_angle", "columns": [0, 3]}
    case = harness.Case(harness.HERE, {"name": "made up", "outputs": [output], "config": {}, "data": None})
    stored = np.array([[0.0, 3.0, 0.0, 7.0]])
    case.arrays["pose"] = stored
    assert harness.check(case, {"pose": np.array([[0.0, 3.0 - 2 * np.pi, 0.0, 7.0]])}) == []
    for wrong in ([0.0, 3.0, 0.01, 7.0], [0.0, 3.0, 0.0, 7.01]):
        assert len(harness.check(case, {"pose": np.array([wrong])})) == 1
    output |= {"compare": "text", "atol": 1e-5}
    case.arrays["pose"] = "JOINT a1 \n\tOFFSET 0.5 1.000000\n"
    assert harness.check(case, {"pose": "JOINT a1\n\tOFFSET  0.500001 1\n"}) == []
    for wrong in ("JOINT a2\n\tOFFSET 0.5 1\n", "JOINT a1\nOFFSET 0.5 1\n", "JOINT a1\n\tOFFSET 0.5 1.1\n", "JOINT a1"):
        assert len(harness.check(case, {"pose": wrong})) == 1
