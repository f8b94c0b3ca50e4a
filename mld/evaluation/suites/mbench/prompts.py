"""Suites of prompts: ours, the two published files of MBench (spec mbench 1), or a user's in either form.

`MBench_final.json` is what models are told, with durations in seconds; `MBench_eval_info.json` what is scored, an entry
per dimension and prompt, with durations in frames at 20 fps. Four prompts differ between the two: a model is told the
first, motions are judged by the second.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from mld.errors import DataError, RequestError, nearest, shown
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, GROUPS, of_group
from mld.evaluation.suites.results_folder import plain_id
from mld.evaluation.suites.settings import FPS
from mld.files import parse_json
from mld.reading import read_text
from mld.yaml_text import read_yaml

OWN = Path(__file__).with_name("suite.yaml")
PUBLISHED = ("MBench_final.json", "MBench_eval_info.json")
LARGEST = 50_000_000  # bytes of a file
MOST_SECONDS = 600.0
UNLIKELY = 20.0  # a `motion_duration` above counts frames, one below seconds, whichever file it is in
Text = Literal["prompt", "motion", "video"]
KEYS = {"prompt": "prompt", "motion": "prompt_motion_detailed", "video": "prompt_video_detailed"}
_NAME = re.compile(r"[\w-][\w .-]{0,99}")


@dataclass(frozen=True)
class Prompt:
    """id: as files are named. number: as the suite has it, for published files. prompt: what motions are judged by.
    texts: what a model may be told, by kind. seconds: wanted length. others: labels that a judge may mistake it for.
    category: as published files name it."""

    id: str
    prompt: str
    group: str
    dimensions: tuple[str, ...]
    seconds: float
    others: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    number: int | str = 0
    category: str = ""

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)

    @property
    def order(self) -> tuple[bool, int, str]:
        """Numbers first, in their order."""
        return (not self.id.isdecimal(), int(self.id) if self.id.isdecimal() else 0, self.id)

    def text(self, kind: str) -> str:
        """What a model is told; `RequestError` where the suite has no such text."""
        found = self.texts.get(kind)
        if not found:
            raise RequestError(f"prompt {self.id} has no text '{KEYS[kind]}'; --text prompt takes what all have")
        return found


@dataclass(frozen=True)
class Suite:
    """prompts: in the order of their ids. name: of the files."""

    name: str
    prompts: tuple[Prompt, ...]

    @property
    def hash(self) -> str:
        known = [
            [p.id, p.prompt, p.seconds, sorted(p.dimensions), sorted(p.others), dict(p.texts)] for p in self.prompts
        ]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def part(self, dimensions: Sequence[str] = (), limit: int | None = None) -> Suite:
        """With these dimensions only (none: all), and the first `limit` prompts of each group."""
        wanted = set(dimensions) or set(DIMENSIONS)
        kept = [replace(p, dimensions=tuple(d for d in p.dimensions if d in wanted)) for p in self.prompts]
        kept = [prompt for prompt in kept if prompt.dimensions]
        if limit is not None:
            kept = [p for i, p in enumerate(kept) if sum(q.group == p.group for q in kept[:i]) < limit]
        if not kept:
            raise RequestError(f"{self.name} has no prompt for {', '.join(dimensions) or 'any dimension'}")
        return Suite(self.name, tuple(kept))

    def of(self, dimension: str) -> list[Prompt]:
        return [prompt for prompt in self.prompts if dimension in prompt.dimensions]


def read_suite(files: Sequence[Path] = ()) -> Suite:
    """The suite of one file or of the two published ones, in any order; without files our own. A folder stands for the
    published files in it. `DataError` says in one line what is no suite."""
    paths: list[Path] = []
    for path in files or [OWN]:
        inside = [path / name for name in PUBLISHED if (path / name).is_file()] if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: no {PUBLISHED[0]} or {PUBLISHED[1]} in this folder; name the file of the suite")
        paths += inside
    told: dict[str, Prompt] = {}
    scored: dict[str, Prompt] = {}
    for path in paths:
        entries, name = _entries(path)
        into = scored if _is_scored(entries) else told
        for place, entry in enumerate(entries):
            prompt = _prompt(entry, f"{path}, entry {place}", into is scored)
            _add(into, prompt, f"{path}, entry {place}", into is scored)
    prompts = _joined(told, scored)
    if not prompts:
        raise DataError(f"{', '.join(map(str, paths))}: a suite without prompts")
    name = " + ".join(path.stem for path in paths) if len(paths) > 1 else name
    return Suite(name, tuple(sorted(prompts, key=lambda prompt: prompt.order)))


def check_dimensions(names: Iterable[str]) -> tuple[str, ...]:
    """The names; `RequestError` for one that is none of the nine."""
    for name in names:
        if name not in DIMENSIONS:
            raise RequestError(f"no dimension '{name}'; {nearest(name, DIMENSIONS)}")
    return tuple(names)


def _entries(path: Path) -> tuple[list[Any], str]:
    """Entries of a file, and the name of the suite."""
    try:
        text = read_text(path, LARGEST)
        content = read_yaml(text) if path.suffix.lower() in (".yaml", ".yml") else parse_json(text)
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'; --suite names a file of prompts, as docs/mbench.md shows") from error
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a suite, neither JSON nor YAML ({shown(str(error), 80)[1:-1]})") from error
    name = path.stem
    if isinstance(content, dict) and "prompts" in content:
        content, name = content["prompts"], str(content.get("name") or name)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: not a suite; it holds a list of prompts, or 'prompts' with one")
    return content, name


def _is_scored(entries: Sequence[Any]) -> bool:
    """Whether entries are those of the evaluation side: dimensions that are no groups, and no `global_id`."""
    found = [entry for entry in entries if isinstance(entry, dict)]
    if any("global_id" in entry or "group" in entry for entry in found):
        return False
    scored = [name for name in DIMENSIONS if name not in GROUPS]
    return any(entry.get("dimension") in scored or "category" in entry for entry in found)


def _prompt(entry: Any, where: str, scored: bool) -> Prompt:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: {shown(entry)} is no prompt; an entry has id, prompt and dimension")
    number = entry.get("global_id", entry.get("id"))
    if not isinstance(number, (int, str)) or isinstance(number, bool) or not _NAME.fullmatch(str(number)):
        raise DataError(f"{where}: the id is {shown(number)}; a number or a word that can name a file is needed")
    group = entry.get("dimension") if scored else entry.get("group", entry.get("dimension"))
    known = DIMENSIONS if scored else GROUPS
    if not isinstance(group, str) or group not in known:
        raise DataError(f"{where}: {shown(group)} is no {'dimension' if scored else 'group'}; "
                        f"{nearest(group if isinstance(group, str) else '', known)}")  # fmt: skip
    texts = {kind: " ".join(entry[key].split()) for kind, key in KEYS.items() if isinstance(entry.get(key), str)}
    if not texts.get("prompt"):
        raise DataError(f"{where}: prompt {number} has no text; 'prompt' holds it")
    names = (group,) if scored else of_group(group)
    if wanted := _words(entry.get("dimensions"), f"{where}: the dimensions"):
        names = check_dimensions(dict.fromkeys(wanted))
    return Prompt(
        str(number), texts["prompt"], DIMENSIONS[group].group if scored else group, names,
        _seconds(entry, where, scored), _others(entry, where), texts, number, str(entry.get("category") or ""),
    )  # fmt: skip


def _seconds(entry: Mapping[str, Any], where: str, scored: bool) -> float:
    """Seconds of an entry: `seconds`, or the published `motion_duration`, in seconds or frames."""
    value = entry.get("seconds", entry.get("motion_duration"))
    if type(value) not in (int, float) or not 0 < value < MOST_SECONDS * FPS:
        raise DataError(f"{where}: 'motion_duration' is {shown(value)}; seconds or frames at {FPS:g} fps are needed")
    frames = "seconds" not in entry and (value > UNLIKELY or (scored and value == UNLIKELY))
    seconds = value / FPS if frames else float(value)
    if seconds > MOST_SECONDS:
        raise DataError(f"{where}: {seconds:g} seconds; a prompt asks for at most {MOST_SECONDS:g}")
    return seconds


def _others(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return _words(entry.get("others", entry.get("auxiliary_info")), f"{where}: the other labels")


def _words(value: Any, what: str) -> tuple[str, ...]:
    """A list of texts; empty for none."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) and word.strip() for word in value):
        raise DataError(f"{what} are {shown(value)}; a list of texts is needed")
    return tuple(" ".join(word.split()) for word in value)


def _add(known: dict[str, Prompt], prompt: Prompt, where: str, scored: bool) -> None:
    """Take up an entry; entries of the evaluation side are one for each dimension."""
    name = plain_id(prompt.id)
    there = known.get(name)
    if there is None:
        known[name] = prompt
    elif scored and there.prompt == prompt.prompt and not set(prompt.dimensions) & set(there.dimensions):
        others = there.others or prompt.others
        known[name] = replace(there, dimensions=(*there.dimensions, *prompt.dimensions), others=others)
    else:
        raise DataError(f"{where}: prompt {prompt.id} is there twice; ids are of one prompt each")


def _joined(told: Mapping[str, Prompt], scored: Mapping[str, Prompt]) -> list[Prompt]:
    """Of both sides: judged by the evaluation side, told by the other."""
    if not told or not scored:
        return list((told or scored).values())
    return [
        replace(scored[name], texts=prompt.texts, seconds=prompt.seconds, others=scored[name].others or prompt.others)
        if name in scored else prompt
        for name, prompt in told.items()
    ] + [prompt for name, prompt in scored.items() if name not in told]  # fmt: skip
