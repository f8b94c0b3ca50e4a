"""Every parity case is a test of its own. A kind without a runner is a visible skip that names the kind."""

from __future__ import annotations

import importlib
import pkgutil

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


def test_comparison_sees_a_small_error() -> None:
    """The harness itself: a value off by twice the tolerance, a wrong shape and a missing output are reported."""
    case = next(c for c in harness.all_cases() if c.kind == "motiongpt.recover")
    stored = {output["name"]: case.arrays[output["name"]] for output in case.spec["outputs"]}
    assert harness.check(case, stored) == []
    first = case.spec["outputs"][0]
    limit = first["atol"] + first["rtol"] * abs(stored[first["name"]]).max()
    off = {**stored, first["name"]: stored[first["name"]].astype("float64") + 2 * limit}
    short = {**stored, first["name"]: stored[first["name"]][1:]}
    missing = {name: value for name, value in stored.items() if name != first["name"]}
    for wrong in (off, short, missing):
        assert len(harness.check(case, wrong)) == 1


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
