"""Parity of a whole run of MBench over a folder of files: which file is read, values, means, published JSON files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, JOINT
from mld.evaluation.suites.mbench.prompts import read_suite
from mld.evaluation.suites.mbench.published_files import contents
from mld.evaluation.suites.mbench.run import Run
from mld.evaluation.suites.mbench.scorers import open_scorers
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.evaluation.suites.mbench.sources import FolderSource
from tests.parity.harness import Case, runner


@runner("mbench.files")
def files(case: Case) -> Mapping[str, Any]:
    stored = Path(case.spec["extra_data"][0]).name
    with tempfile.TemporaryDirectory() as place:
        run = _run(case, Path(place), case.arrays[f"{stored}#info"])
        parts = contents(case.config["name"], run.suite, run.records)
        upstream, strict = (_values(run, column) for column in ("upstream", "strict"))
    results = parts["eval_results"]
    return {f"{stored}#{name}": value for name, value in {
        "files": {d: {i: one.file for i, one in found.items()} for d, found in upstream.items()},
        "values": {d: {i: one.value for i, one in found.items()} for d, found in upstream.items()},
        "aggregates": {dimension: results[dimension]["aggregate"] for dimension in upstream},
        "values_height_up": {d: {i: one.value for i, one in found.items()} for d, found in strict.items()
                             if DIMENSIONS[d].needs == JOINT},
        "full_info": parts["full_info"], "eval_results": results, "per_motion_results": parts["per_motion_results"],
    }.items()}  # fmt: skip


def _run(case: Case, place: Path, info: list[dict[str, Any]]) -> Run:
    """The folder of the case, and a run over it."""
    folder, caches = place / "motions", dict[str, dict[str, Any]]()
    folder.mkdir()
    for name in case.arrays:
        file, _, key = name.partition("#")
        if file.endswith(".npy"):
            np.save(folder / file, case.arrays[name])
        elif file.endswith(".pt"):  # as published: poses are tensors, joints are arrays
            value = case.arrays[name]
            caches.setdefault(file, {})[key] = value if key == "joints" else torch.from_numpy(value)
    for file, content in caches.items():
        torch.save(content, folder / file)
    suite = place / "info.json"
    suite.write_text(json.dumps(info))
    settings = MBenchSettings(
        mode="upstream", partial=True, nrdf=case.folder / case.spec["weights"], out=place / "out",
        cache=place / "cache", dimensions=tuple(case.config["dimensions"]),
    )  # fmt: skip
    run = Run(read_suite([suite]), FolderSource(folder, settings), settings, open_scorers(settings))
    run.run()
    return run


def _values(run: Run, column: str) -> dict[str, dict[str, Any]]:
    """Results with a value, by dimension and id."""
    found: dict[str, dict[str, Any]] = {}
    for name, record in run.records.items():
        for dimension, result in record.results[column].items():
            if result.value is not None:
                found.setdefault(dimension, {})[name] = result
    return found
