"""Is the real row what the evaluator is known to give? If not, no number of this evaluation can be trusted.

Known rows come with the evaluator (`expected.json` in its folder, for our own ones) or, for imports of the published
evaluators, from `reference/expected.yaml`. Without a known row there is still a check: real pairs have to beat chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mld.errors import DataError, shown
from mld.files import parse_json, write_json
from mld.reading import read_text

FILE = "expected.json"
PUBLISHED = Path(__file__).parent / "reference" / "expected.yaml"
GUARDED = ("R_precision_top_1", "R_precision_top_2", "R_precision_top_3", "Matching_score", "Diversity", "FID")
GROUP_CHANCE = {"R_precision_top_1": 1 / 32, "R_precision_top_3": 3 / 32}
TIMES_CHANCE = 1.5
RECORDED = 20  # replications of a recorded row that does not say


@dataclass(frozen=True)
class Expected:
    """name: of the evaluator and the data. values: metric -> (value, largest distance that is fine). replications: of
    the expected row, where the distance is that of a single replication; 0 where it does not depend on their number."""

    name: str
    values: Mapping[str, tuple[float, float]]
    replications: int = 0

    def within(self, name: str, replications: int) -> float:
        """The largest distance that is fine for the mean over `replications`."""
        value, distance = self.values[name]
        if not self.replications:
            return distance
        return max(0.01 * abs(value) + 1e-3, distance * math.sqrt(1 / replications + 1 / self.replications))


@dataclass(frozen=True)
class Check:
    """status: "as expected", "off" or "not known". lines: what to tell the user."""

    status: str
    lines: tuple[str, ...]


def find(
    folder: Path, family: str, origin: Mapping[str, Any], data: Mapping[str, Any], protocol: str
) -> Expected | None:
    """The known real row. folder: of the evaluator. origin: its provenance. data: name, hash, source, representation
    and split. protocol: id of the real row."""
    for row in _own_rows(folder):
        if row["protocol"] == protocol and row["data_hash"] == data["hash"]:
            values = {name: tuple(pair) for name, pair in row["values"].items()}
            return Expected(row["name"], values, row.get("replications", RECORDED))
    imported = {parent.get("file") for parent in origin.get("parents") or () if isinstance(parent, Mapping)}
    for row in _published_rows():
        same = all(row[key] == data.get(key) for key in ("representation", "source", "split"))
        if same and row["family"] == family and row["imported"] in imported and not data.get("limited"):
            return Expected(row["name"], {name: tuple(pair) for name, pair in row["values"].items()})
    return None


def check(real: Mapping[str, Mapping[str, Any]], expected: Expected | None) -> Check:
    """Compare a real row (metric -> entry with `value`, without prefix) with what is expected of it."""
    lines = _below_chance(real)
    if expected is None:
        return Check("off" if lines else "not known", tuple(lines or ("no expected row is known for this data",)))
    compared = 0
    for name, (value, _) in expected.values.items():
        found = real.get(name, {}).get("value")
        if found is None:
            continue
        compared += 1
        within = expected.within(name, len(real[name]["values"]))
        if abs(found - value) > within:
            lines.append(f"{name} is {found:.4g}, expected {value:.4g} ± {within:.2g}")
    if lines:
        return Check("off", (*lines, f"expected row: {expected.name}"))
    if not compared:
        return Check("not known", (f"none of the expected metrics has a value ({expected.name})",))
    return Check("as expected", (f"{compared} metrics as expected of {expected.name}",))


def record(folder: Path, name: str, real: Mapping[str, Mapping[str, Any]], protocol: str, data_hash: str) -> Path:
    """Write the real row into the evaluator's folder as what is expected from now on.

    The value of one replication may be off by four times the spread over replications plus one percent."""
    values, count = {}, 0
    for metric in GUARDED:
        entry = real.get(metric, {})
        if entry.get("value") is None:
            continue
        several, count = entry["values"], len(entry["values"])
        spread = (sum((v - entry["value"]) ** 2 for v in several) / len(several)) ** 0.5
        values[metric] = [entry["value"], 4 * spread + 0.01 * abs(entry["value"]) + 1e-3]
    if not values:
        raise DataError("the real row has no value that could be expected: too few clips?")
    rows = [row for row in _own_rows(folder) if (row["protocol"], row["data_hash"]) != (protocol, data_hash)]
    rows.append({"name": name, "protocol": protocol, "data_hash": data_hash, "replications": count, "values": values})
    return write_json(folder / FILE, {"rows": rows})


def banner(evaluator: str, found: Check) -> str:
    """The loud warning."""
    lines = [f"WARNING: the real motions do not score as expected with evaluator '{evaluator}'.", *found.lines,
             "Wrong statistics, another evaluator or other data? Do not trust the numbers below."]  # fmt: skip
    width = max(map(len, lines))
    edge = "!" * (width + 4)
    return "\n".join([edge, *(f"! {line.ljust(width)} !" for line in lines), edge])


def _below_chance(real: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for name, chance in GROUP_CHANCE.items():
        value = real.get(name, {}).get("value")
        if value is not None and value < TIMES_CHANCE * chance:
            found.append(f"{name} of real pairs is {value:.3f}; guessing gives about {chance:.3f}")
    return found


def _own_rows(folder: Path) -> list[dict[str, Any]]:
    file = folder / FILE
    if not file.is_file():
        return []
    try:
        rows = parse_json(read_text(file))["rows"]
        for row in rows:
            _check_row(row)
        return rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} cannot be read ({error}); delete it or copy it again") from error


def _check_row(row: Mapping[str, Any]) -> None:
    """`ValueError`, `KeyError` or `TypeError` for what is not as `record` writes it."""
    if not all(isinstance(row[key], str) for key in ("name", "protocol", "data_hash")):
        raise ValueError("a row without name, protocol or data_hash")
    count = row.get("replications", RECORDED)
    if type(count) is not int or not 0 < count < 10**6:
        raise ValueError(f"replications is {shown(count)}")
    for name, pair in row["values"].items():
        value, distance = pair
        if not all(type(number) in (int, float) and abs(number) < 1e100 for number in (value, distance)):
            raise ValueError(f"{shown(name)} is {shown(pair)}")


def _published_rows() -> list[dict[str, Any]]:
    import yaml

    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
