"""Text features in the published layout of ViMoGen-228K, read into a folder of ours and written out of any encoder.

`<folder>/<text key>/<id>.pt` holds (L, Z) bfloat16 of a text; entries of the list name it as
`<text key>_wanvideot5_embed_path` (vimogen spec 5.2). The published loader takes a missing file for no text and does
not say so; here they are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import Problem
from mld.data.motion_list import name_of, place_of, read_entries
from mld.errors import DataError, MldError, nearest
from mld.files import atomically
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.text_encoders.cache import PER_FILE
from mld.models.text_encoders.stored import EMPTY, FeatureFolder
from mld.motion.formats.torch_file import open_torch

SUFFIX = "_wanvideot5_embed_path"
SHOWN = 5
TOGETHER = 64  # texts that are encoded in one batch, as published


@dataclass
class Texts:
    """What became of the texts of a list. texts: features that are there, or were written. untold: entries without a
    text of a key. problems: of texts without features."""

    folder: Path
    texts: int = 0
    untold: int = 0
    problems: list[Problem] = field(default_factory=list)

    def lines(self, done: str) -> list[str]:
        lines = [f"{self.folder}: features of {self.texts:,} texts {done}"]
        if self.untold:
            lines.append(f"{self.untold:,} entries have no text")
        if self.problems:
            lines.append(f"{len(self.problems):,} texts have no features and will be taken for the empty text:")
            lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
            lines += ["  ..."] if len(self.problems) > SHOWN else []
        return lines


def import_texts(
    listed: Path, out: Path, null: Path, keys: Sequence[str] = (), features: Path | None = None,
    tokens: str = "float16", encoder: str = "",
) -> Texts:  # fmt: skip
    """Features of a list into the folder `out`. null: the file with those of the empty text. keys: of which texts, none
    for all that the list names features of. features: the folder `<text key>/<id>.pt`, where the list names none.
    encoder: of which they are, for other texts later on.

    A text whose file is missing or not such features is a problem; `DataError` where there is none at all."""
    entries = read_entries(listed)
    keys = keys or _keys(listed, entries, features)
    found = Texts(out)
    empty = read_features(null)
    last = int(empty.any(1).nonzero().max()) + 1 if empty.any() else 1
    folder = FeatureFolder(out, empty[:last], tokens, encoder)
    part: dict[str, Tensor] = {}
    known: set[str] = set()
    for number, key, text, file in tqdm(list(_wanted(listed, entries, keys, features, found)), "texts", leave=False,
                                        disable=len(entries) < PER_FILE):  # fmt: skip
        if text in part or text in known:
            continue
        if not folder.cache.missing([text]):  # of an earlier run
            known.add(text)
            continue
        try:
            if file is None:
                raise DataError(f"the list names no '{key}{SUFFIX}'")
            part[text] = read_features(file, folder.width)
        except DataError as error:
            found.problems.append(Problem(listed.name, 0, f"entry {number}, {key}: {error}"))
        if len(part) == PER_FILE:
            folder.put(part)
            known |= set(part)
            part = {}
    folder.put(part)
    found.texts = len(known) + len(part)
    if not found.texts and found.problems:
        raise DataError(f"{listed}: no text has features; the first: {found.problems[0].message}")
    return found


def export_texts(
    listed: Path, out: Path, encoder: TextEncoder, keys: Sequence[str], device: str = "cpu"
) -> Texts:  # fmt: skip
    """Features of the texts of a list as the published code reads them, and the list with their places as
    `out/<name of the list>`; the list itself is left as it is."""
    entries, found = read_entries(listed), Texts(out)
    if (out / listed.name).resolve() == listed.resolve():
        raise DataError(f"{out}: is where the list lies; name another folder with --out")
    made = [dict(entry) if isinstance(entry, dict) else entry for entry in entries]
    todo = list(_wanted(listed, entries, keys, None, found))
    files: dict[Path, str] = {}
    for start in tqdm(range(0, len(todo), TOGETHER), "texts", leave=False, disable=len(todo) <= PER_FILE):
        part = todo[start : start + TOGETHER]
        for (number, key, text, _), rows in zip(part, _encoded(encoder, [text for _, _, text, _ in part], device)):
            file = out / key / f"{_name(entries[number], number)}.pt"
            told = str(rows) if isinstance(rows, MldError) else ""
            if files.setdefault(file, text) != text:
                told = f"another text of this name is in {file.relative_to(out).as_posix()}"
            if told or isinstance(rows, MldError):
                found.problems.append(Problem(listed.name, 0, f"entry {number}, {key}: {told}"))
                continue
            with atomically(file) as new:  # a clone: a view would be saved with all that it is a view of
                torch.save(rows.bfloat16().clone(), new)
            made[number][key + SUFFIX] = file.relative_to(out).as_posix()
            found.texts += 1
    null = torch.zeros(226, encoder.width, dtype=torch.bfloat16)
    (empty,) = encoder.encode([EMPTY], device)
    null[: len(empty.tokens)] = empty.tokens.bfloat16()
    with atomically(out / "context_null_padded.pth") as new:
        torch.save(null, new)
    with atomically(out / listed.name) as new:
        new.write_text(json.dumps(made, ensure_ascii=False, indent=1), encoding="utf-8")
    return found


def _encoded(encoder: TextEncoder, texts: Sequence[str], device: str) -> list[Tensor | MldError]:
    """Features (L, Z) of texts, computed together; where that fails each by itself, so that one loses no other."""
    try:
        return [found.tokens for found in encoder.encode(texts, device)]
    except MldError as error:
        if len(texts) == 1:
            return [error]
        return [_encoded(encoder, [text], device)[0] for text in texts]


def read_features(path: Path, width: int | None = None) -> Tensor:
    """Features (L, Z) of a text, memory of their own; `DataError` for a file that holds no such."""
    if not path.is_file():
        raise DataError(f"{path}: missing")
    rows = open_torch(path)
    if isinstance(rows, torch.Tensor) and rows.ndim == 3 and len(rows) == 1:
        rows = rows[0]
    if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or not rows.is_floating_point() or not rows.numel():
        told = f"shape {tuple(rows.shape)}" if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise DataError(f"{path}: no features of a text (L, Z): {told}")
    if width is not None and rows.shape[1] != width:
        raise DataError(f"{path}: features of {rows.shape[1]} columns, those of the empty text have {width}")
    if not rows.isfinite().all():
        raise DataError(f"{path}: NaN or infinity")
    return rows.detach().clone()


Wanted = tuple[int, str, str, Path | None]  # number of the entry, key, text, file of its features


def _wanted(
    listed: Path, entries: Sequence[Any], keys: Sequence[str], features: Path | None, found: Texts
) -> Iterator[Wanted]:
    """Texts of a list. Of several texts under one key the first is that with features, as published."""
    for number, entry in enumerate(entries):
        for key in keys if isinstance(entry, dict) else ():
            text = entry.get(key)
            text = next(iter(text), None) if isinstance(text, list) else text
            if not isinstance(text, str) or not text.strip():
                found.untold += 1
                continue
            named = entry.get(key + SUFFIX)
            file = None
            if features is not None:
                file = features / key / f"{_name(entry, number)}.pt"
            elif isinstance(named, str):
                file = place_of(listed.parent, named)
            yield number, key, text.strip(), file


def _name(entry: dict[str, Any], number: int) -> str:
    try:
        name = name_of(entry, number)
    except ValueError:
        return str(number)
    return name.replace("/", "_")


def _keys(listed: Path, entries: Sequence[Any], features: Path | None) -> list[str]:
    """The texts that a list has features of."""
    if features is not None:
        found = sorted(path.name for path in features.iterdir() if path.is_dir()) if features.is_dir() else []
    else:
        named = {name for entry in entries if isinstance(entry, dict) for name in entry}
        found = sorted(name.removesuffix(SUFFIX) for name in named if name.endswith(SUFFIX))
    if not found:
        raise DataError(f"{features or listed}: names no features of texts (<text key>{SUFFIX}); say where they are: "
                        "--features FOLDER, which holds <text key>/<id>.pt")  # fmt: skip
    return found


def check_keys(listed: Path, keys: Sequence[str]) -> None:
    """`DataError` for a text that no entry of a list has."""
    known = {name for entry in read_entries(listed) if isinstance(entry, dict) for name in entry}
    for key in keys:
        if key not in known:
            raise DataError(f"{listed}: no entry has the text '{key}'; {nearest(key, sorted(known))} (--text-keys)")
