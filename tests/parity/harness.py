"""Finds parity cases, feeds their runners and compares (the schema is described in docs/parity.md).

A case folder holds `cases.json`. Folders come from `MLD_PARITY_DIRS` (colon-separated), by default the small set beside
this file and the shared set next to the repository when it is there. A runner is a function `(case) -> {output: value}`
registered for a `kind`; it calls the product's own code and takes every size from the case.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.spatial.transform import Rotation

HERE = Path(__file__).parent
Runner = Callable[["Case"], Mapping[str, Any]]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
RUNNERS: dict[str, Runner] = {}


def runner(*kinds: str) -> Callable[[Runner], Runner]:
    """Register a function for one or more case kinds. It may leave out outputs only by raising."""

    def register(function: Runner) -> Runner:
        for kind in kinds:
            RUNNERS[kind] = function
        return function

    return register


@dataclass(frozen=True)
class Case:
    """One entry of a `cases.json` with its arrays (`arrays`), weights (`state_dict`) and config."""

    folder: Path
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def kind(self) -> str:
        return self.spec["kind"]

    @property
    def config(self) -> Mapping[str, Any]:
        return self.spec["config"]

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """All stored inputs and expected outputs by name: numpy arrays, or JSON values."""
        found = _read(self.folder / self.spec["data"]) if self.spec["data"] else {}
        for extra in self.spec.get("extra_data") or ():
            if extra.endswith((".npz", ".json")):
                found.update({f"{extra}#{key}": value for key, value in _read(self.folder / extra).items()})
            else:
                found[extra] = (self.folder / extra).read_text(encoding="utf-8")
        return found

    @cached_property
    def state_dict(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / self.spec["weights"])

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A stored array as a tensor."""
        return torch.as_tensor(np.ascontiguousarray(self.arrays[name]), dtype=dtype)


def folders() -> list[Path]:
    """The case folders to search."""
    named = os.environ.get("MLD_PARITY_DIRS")
    if named:
        roots = [Path(part) for part in named.split(":") if part]
    else:
        roots = [HERE / "cases", HERE.parents[2] / "shared" / "parity"]
    return [root for root in roots if root.is_dir()]


def all_cases() -> list[Case]:
    """Every case below the folders; a case found twice (small copy and shared set) is run once."""
    found: dict[tuple[str, str], Case] = {}
    for root in folders():
        for file in sorted(root.rglob("cases.json")):
            listing = json.loads(file.read_text(encoding="utf-8"))
            if listing["schema"] != 1:
                raise ValueError(f"{file}: schema {listing['schema']} is not known")
            for spec in listing["cases"]:
                found.setdefault((listing["system"], spec["name"]), Case(file.parent, spec))
    return list(found.values())


def check(case: Case, computed: Mapping[str, Any]) -> list[str]:
    """Compare every output of the case; one line per difference."""
    problems = []
    for output in case.spec["outputs"]:
        if output.get("compare") == "informative":
            continue
        name = output["name"]
        if name not in computed:
            problems.append(f"{name}: the runner gave no value")
        elif name in case.config.get("records", {}):
            problems += _equal_records(name, computed[name])
        else:
            problems += _differences(case, output, computed[name])
    return problems


def _equal_records(name: str, pairs: list[tuple[Any, Any]]) -> list[str]:
    """Record lists arrive as (computed, expected) pairs, each side one record's expected fields."""
    if not pairs:
        return [f"{name}: no record was run"]
    return [f"{name}[{i}]: {got!r} != {want!r}" for i, (got, want) in enumerate(pairs) if got != want]


def _differences(case: Case, output: Mapping[str, Any], value: Any) -> list[str]:
    name = output["name"]
    return _compare(case, output, name, value, case.arrays[name])


def _compare(case: Case, output: Mapping[str, Any], name: str, value: Any, want: Any) -> list[str]:
    """One value; nested objects leaf by leaf, lists of numbers as arrays, text by equality."""
    if isinstance(want, dict):
        missing = [f"{name}/{key}: the runner gave no value" for key in want if key not in value]
        pairs = ((f"{name}/{key}", value[key], want[key]) for key in want if key in value)
        return missing + [line for pair in pairs for line in _compare(case, output, *pair)]
    if isinstance(want, list) and want and all(isinstance(entry, int | float) for entry in want):
        want = np.asarray(want)
    if output.get("compare") == "text":
        return _text_differences(name, value, want, output["atol"])
    if not isinstance(want, np.ndarray | np.generic | int | float):
        return [] if value == want else [f"{name}: {value!r} != {want!r}"]
    got = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    want = np.asarray(want)
    if got.shape != want.shape:
        return [f"{name}: shape {got.shape} != {want.shape}"]
    if output["exact"]:
        wrong = int((got != want).sum())
        return [f"{name}: {wrong} of {want.size} values differ"] if wrong else []
    got, want = got.astype(np.float64), want.astype(np.float64)
    keep = _selection(case, output, want.shape)
    if output.get("compare") == "quaternion":
        got = np.where((got * want).sum(-1, keepdims=True) < 0, -got, got)
    if output.get("compare") == "axis_angle":
        start, end = output.get("columns") or (0, want.shape[-1])
        got, want, keep = (_with_matrices(array, start, end) for array in (got, want, keep))
    scale = np.abs(want).max(initial=0.0)
    problems = []
    spans = output.get("atol_by_columns") or [[0, want.shape[-1] if want.ndim else 1, output["atol"]]]
    for start, end, atol in spans:
        columns = np.s_[..., start:end] if want.ndim else np.s_[...]
        error = np.abs(got - want)[columns][keep[columns]]
        limit = atol + output["rtol"] * scale
        if error.size and not error.max() <= limit:
            problems.append(f"{name}[..., {start}:{end}]: max error {error.max():.3g} > {limit:.3g}")
    return problems


def _with_matrices(array: np.ndarray, start: int, end: int) -> np.ndarray:
    """Columns start..end, triples of axis-angle, as rotation matrices after the other columns; masks repeat."""
    plain = np.concatenate([array[..., :start], array[..., end:]], axis=-1)
    triples = array[..., start:end].reshape(-1, 3)
    if array.dtype == bool:
        matrices = np.repeat(triples.all(-1, keepdims=True), 9, axis=-1)
    else:
        matrices = Rotation.from_rotvec(triples).as_matrix()
    return np.concatenate([plain, matrices.reshape(*array.shape[:-1], -1)], axis=-1)


def _text_differences(name: str, got: str, want: str, atol: float) -> list[str]:
    """Lines that differ in words, in tabs, or by more than `atol` in a number; how many blanks there are between words
    and at the ends of lines does not count."""
    lines, wanted = ([re.sub(" +", " ", line).strip(" ") for line in text.splitlines()] for text in (got, want))
    if len(lines) != len(wanted):
        return [f"{name}: {len(lines)} lines != {len(wanted)}"]
    problems = []
    for number, (line, other) in enumerate(zip(lines, wanted), start=1):
        same = NUMBER.sub("#", line) == NUMBER.sub("#", other)
        pairs = zip(map(float, NUMBER.findall(line)), map(float, NUMBER.findall(other)))
        if not same or max((abs(a - b) for a, b in pairs), default=0.0) > atol:
            problems.append(f"{name}, line {number}: {line[:80]!r} != {other[:80]!r}")
    return problems[:5]


def _selection(case: Case, output: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Boolean array of the entries to compare."""
    keep = np.ones(shape, dtype=bool)
    for array, value in (output.get("mask") or {}).items():
        mask = np.asarray(case.arrays[array]) == value
        if "mask_columns_from" in output:
            mask = mask[:, int(case.arrays[output["mask_columns_from"]]):]
        keep &= mask.reshape(mask.shape + (1,) * (len(shape) - mask.ndim))
    if output.get("rows") == "first_half":
        keep[shape[0] // 2:] = False
    return keep


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    return _flatten(json.loads(path.read_text(encoding="utf-8")))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat[prefix + key] = value
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}/"))
    return flat
