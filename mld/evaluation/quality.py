"""`quality.json` of a model folder: what was measured of the model, taken from `results.json` files of `mld test`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mld.errors import DataError
from mld.files import parse_json
from mld.reading import read_text

FILE, FORMAT = "quality.json", 1
WHOLE = {"probes"}  # tasks of which every number is kept
SAME = ("task", "metric", "protocol", "hash", "replications")  # of two measurements of the same
KEPT = ("R_precision_top_3", "FID", "skating", "jerk")  # of other tasks, by the last part of their names


def collect(results: Sequence[tuple[str, Mapping[str, Any]]], weights: Sequence[str]) -> dict[str, Any]:
    """The content of `quality.json`. results: where each comes from, and its content. weights: hashes that the model
    is known by. `DataError` where results are of another model."""
    measured: list[dict[str, Any]] = []
    for where, content in results:
        model = content.get("model") or {}
        known = model.get("weights_hash", "")
        if not known or not any(one.startswith(known) for one in weights if one):
            raise DataError(f"{where}: measures '{model.get('name', 'no model')}', whose weights are others")
        for entry in _of(content):
            twin = next((one for one in measured if all(one[key] == entry[key] for key in SAME)), None)
            if twin is not None:
                told = f"{entry['task']} {entry['metric']} is in another file, too, by the same protocol and data"
                raise DataError(f"{where}: {told} ({twin['value']:.4g} and {entry['value']:.4g}); give one of them")
            measured.append(entry)
    return {"format": FORMAT, "measured": measured}


def _of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    data, seeds = content["data"], content["seeds"]
    found = []
    for task, entries in content["tasks"].items():
        for name, entry in entries.items():
            if entry["value"] is None or not (task in WHOLE or name.rpartition("/")[2] in KEPT):
                continue
            real = entries.get(f"{name}_real") or content["rows"].get("real", {}).get(name) or {}
            found.append({
                "task": task, "metric": name, "value": entry["value"], "unit": entry["unit"],
                "interval": entry.get("interval_over_items"), "ci95": entry.get("ci95"), "real": real.get("value"),
                "protocol": entry["protocol"], "data": f"{data['name']}, {data['clips']} clips", "hash": data["hash"],
                "replications": seeds["replications"], "limited": bool(data.get("limited")),
            })  # fmt: skip
    return found


def read_quality(folder: Path) -> list[dict[str, Any]]:
    """What a folder says was measured; nothing where it has no such file. `DataError` for one that cannot be read."""
    file = folder / FILE
    if not file.is_file():
        return []
    try:
        content = parse_json(read_text(file))
        return [_checked(entry) for entry in content["measured"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not what a release writes; make it again with `--results`") from error


def _checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """`KeyError`, `TypeError` or `ValueError` for what `collect` does not write."""
    texts = {key: entry[key] for key in ("task", "metric", "unit")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("names are text")
    real = entry.get("real")
    return {**entry, "value": float(entry["value"]), "real": None if real is None else float(real)}
