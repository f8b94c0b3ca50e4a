"""The command `models`: the models that come with the package, what each does, weighs and was measured to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.common import EXIT_OK, parser, run
from mld import packaged

EPILOG = """\
examples:
  mld models                 the bundled models; * marks tasks that a command gives to this model
  mld models --json          the same for programs
  mld models --markdown      as tables, for the documentation"""
UNMEASURED = "not measured (no quality.json; docs/evaluation.md may have numbers)"


def main(arguments: Sequence[str]) -> int:
    command = parser("models", "The models that come with the package.", EPILOG)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--markdown", action="store_true", help="tables for the documentation")
    options = command.parse_args(arguments)
    found = [described(name, folder) for name, folder in packaged.bundled_models().items()]
    found.sort(key=lambda one: (one["kind"] != "generator", one["name"]))
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(_table(one) if options.markdown else _plain(one) for one in found))
    return EXIT_OK


def described(name: str, folder: Path) -> dict[str, Any]:
    """What is known of a model folder, in plain values."""
    import tasks
    from commands.models import bundled
    from mld.checkpoint import outline, read_provenance
    from mld.engine.pipeline import Pipeline
    from mld.evaluation.quality import read_quality

    network, origin = outline(folder), read_provenance(folder)
    able = tasks.able(Pipeline(network)) if network.kind == "generator" else []
    return {
        "name": name, "kind": network.kind, "family": network.family,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "parameters": sum(parameter.numel() for parameter in network.parameters()), "tasks": able,
        "default_for": [task for task in able if Path(bundled(task)) == folder], "run": origin.get("run"),
        "git_sha": origin.get("git_sha"), "seed": origin.get("seed"), "config_hash": origin.get("config_hash"),
        "data": origin.get("data"), "data_hash": origin.get("data_hash"), "licence": origin.get("licence"),
        "credit": origin.get("credit"), "quality": read_quality(folder),
    }  # fmt: skip


def _rows(one: dict[str, Any]) -> dict[str, str]:
    rows = {"family": f"{one['family']} ({one['kind']})",
            "size": f"{one['parameters'] / 1e6:.1f} M parameters, {one['bytes'] / 1e6:.1f} MB"}
    if one["tasks"]:
        rows["tasks"] = " ".join(task + "*" * (task in one["default_for"]) for task in one["tasks"])
    for key in ("data", "licence"):
        rows[key] = " ".join(str(one[key] or "unknown").split())
    if one["kind"] == "generator":
        rows["measured"] = "; ".join(map(_number, one["quality"])) or UNMEASURED
    return rows


def _number(entry: dict[str, Any]) -> str:
    real = "" if entry.get("real") is None else f" (real {entry['real']:.4g})"
    unit = f" {entry['unit']}" if entry.get("unit") else ""
    part = " (of a part of the data)" if entry.get("limited") else ""
    return f"{entry['task']} {entry['metric']} {entry['value']:.4g}{unit}{real}{part}"


def _plain(one: dict[str, Any]) -> str:
    return "\n".join([one["name"], *(f"  {key.ljust(9)} {value}" for key, value in _rows(one).items())])


def _table(one: dict[str, Any]) -> str:
    cells = {key: value.replace("|", "\\|").replace("*", "\\*") for key, value in _rows(one).items()}
    rows = [f"| {key} | {value} |" for key, value in cells.items()]
    return "\n".join([f"### {one['name']}", "", "| | |", "|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(run(main))
