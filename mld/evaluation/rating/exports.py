"""What a rater saved on the page, JSON or CSV, read as a file of a stranger and held against the sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mld.errors import DataError, shown
from mld.evaluation.rating.scale import AXES, FORMAT, SCALE
from mld.files import parse_json
from mld.reading import read_text

HEAD = ("format", "sheet", "models", "rater")
Marks = dict[str, dict[str, int]]  # clip -> axis -> value


@dataclass(frozen=True)
class Export:
    """marks: of the clips that were rated, of each the axes that were."""

    rater: str
    marks: Marks


def read_export(path: Path, sheet: Mapping[str, Any]) -> Export:
    """The ratings of one rater. `DataError` for what is none, for other weights than the sheet's, and another sheet."""
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'") from error
    except ValueError as error:
        raise DataError(f"{path}: no text, so no ratings that the page saved") from error
    try:
        found = _of_csv(text) if path.suffix.lower() == ".csv" else _of_json(text)
        head = {key: found[key] for key in HEAD}
        rows = list(found["ratings"])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: not what the rating page saves ({error})") from error
    _check_head(path, head, sheet)
    clips = {clip["id"] for entry in sheet["prompts"] for clip in entry["clips"]}
    marks: Marks = {}
    for clip, values in (_row(path, row) for row in rows):
        if clip not in clips:
            raise DataError(f"{path}: it rates a motion {shown(clip)} that the sheet does not have")
        if clip in marks:
            raise DataError(f"{path}: it rates the motion {clip} twice")
        marks[clip] = values
    return Export(" ".join(str(head["rater"]).split())[:60], marks)


def _check_head(path: Path, head: Mapping[str, Any], sheet: Mapping[str, Any]) -> None:
    if head["format"] != FORMAT:
        raise DataError(f"{path}: ratings of format {shown(head['format'])}, expected '{FORMAT}'")
    if not isinstance(head["rater"], str) or not head["rater"].strip():
        raise DataError(f"{path}: it does not say who rated")
    if not isinstance(head["models"], list) or sorted(map(str, head["models"])) != sorted(sheet["hashes"]):
        known = ", ".join(f"{model['name']} {model['hash']}" for model in sheet["models"])
        raise DataError(f"{path}: it rates other weights ({shown(head['models'])}) than this sheet ({known})")
    if head["sheet"] != sheet["sheet"]:
        raise DataError(f"{path}: ratings of another sheet, {shown(head['sheet'])}, of the same weights; collect them "
                        f"with that sheet's folder (this is {sheet['sheet']})")


def _row(path: Path, row: Any) -> tuple[str, dict[str, int]]:
    if not isinstance(row, dict) or not isinstance(row.get("clip"), str):
        raise DataError(f"{path}: {shown(row)} is no rating")
    values = {}
    for axis in AXES:
        value = row.get(axis)
        if value is None:
            continue
        if type(value) is not int or value not in SCALE:
            raise DataError(f"{path}: {axis} of {shown(row['clip'])} is {shown(value)}, expected 1 to {max(SCALE)}")
        values[axis] = value
    return row["clip"], values


def _of_json(text: str) -> dict[str, Any]:
    found = parse_json(text)
    if not isinstance(found, dict) or not isinstance(found.get("ratings"), list):
        raise ValueError("no list of ratings in it")
    return found


def _of_csv(text: str) -> dict[str, Any]:
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValueError("no ratings in it")
    heads = {tuple(row[key] for key in HEAD) for row in rows}
    if len(heads) != 1:
        raise ValueError("lines of several sheets or raters in one file")
    format_, sheet, models, rater = ("" if one is None else one for one in heads.pop())  # of a line cut short
    ratings = [{"clip": row["clip"], **dict(_numbers(row))} for row in rows]
    return {"format": format_, "sheet": sheet, "models": models.split(), "rater": rater, "ratings": ratings}


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for axis in AXES:
        value = row[axis]
        if value:
            yield axis, int(value) if value.isdigit() and len(value) < 4 else value
