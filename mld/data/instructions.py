"""Instruction templates: phrasings with placeholders as data, and how a clip fills them (spec motiongpt 3.4-3.6).

A set is a JSON file `{group: {subtask: {"class", "input": [...], "output": [...]}}}`. Ours are in `instructions/`; the
published files have the same layout and can be used by path. A filled phrasing is a sequence of segments: text is
verbatim, motion placeholders are clips on the time line of the example. `_Given` is the beginning that a clip has been
given (`CaptionedClip.history`), nothing where it has none, and `_Following` what follows, or all. Captions and lengths
are of what follows. `<Phrase_Placeholder>` is the caption without its full stop, so that the sentence may go on, and
`<Duration_Placeholder>` the length to half a second with its unit, half of the time in words. `<Reference_Placeholder>`
is the motion as a condition that is not part of the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from mld.data.clips import Problem
from mld.data.config import DataConfig
from mld.durations import spoken
from mld.errors import ConfigError, DataError, nearest
from mld.example import CaptionedClip, Clip, Example, Reference, Segment, Text
from mld.files import parse_json
from mld.reading import read_text

BUILTIN = Path(__file__).parent / "instructions"
CAPTION, FRAMES, SECONDS = "<Caption_Placeholder>", "<Frame_Placeholder>", "<Second_Placeholder>"
PHRASE, DURATION = "<Phrase_Placeholder>", "<Duration_Placeholder>"
MOTION, HEAD, REST = "<Motion_Placeholder>", "<Motion_Placeholder_s1>", "<Motion_Placeholder_s2>"
MASKED = "<Motion_Placeholder_Masked>"
GIVEN, FOLLOWING = "<Motion_Placeholder_Given>", "<Motion_Placeholder_Following>"
MOTIONS = (MOTION, HEAD, REST, MASKED, GIVEN, FOLLOWING)
REFERENCE = "<Reference_Placeholder>"
PLACEHOLDERS = (CAPTION, PHRASE, FRAMES, SECONDS, DURATION, REFERENCE, *MOTIONS)
# compat: 53 phrasings of the published file misspell the frame placeholder
ALIASES = {"<Framelen_Placeholder>": FRAMES}
_PARTS = re.compile(r"(<[^<>]*>)")
FEWEST_UNITS = 4


@dataclass(frozen=True)
class Template:
    """The phrasings of one sub-task; `kind` is the informative "class" of the file."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class InstructionSet:
    """Templates by sub-task name "group/subtask". `problems` lists empty and repeated phrasings, which are left out."""

    def __init__(self, templates: dict[str, Template], problems: list[Problem]) -> None:
        self.templates = templates
        self.problems = problems

    @property
    def subtasks(self) -> tuple[str, ...]:
        return tuple(self.templates)

    @classmethod
    def load(cls, name_or_path: str) -> InstructionSet:
        """The built-in set of that name, or the file at that path.

        `DataError` names the file, sub-task and phrasing that has an unknown placeholder."""
        builtin = BUILTIN / f"{name_or_path}.json"
        path = builtin if builtin.is_file() else Path(name_or_path).expanduser()
        if not path.is_file():
            names = ", ".join(sorted(p.stem for p in BUILTIN.glob("*.json")))
            raise DataError(f"no instruction templates '{name_or_path}': use {names} or the path of a JSON file")
        try:
            groups = parse_json(read_text(path))
            entries = {f"{group}/{name}": entry for group, tasks in groups.items() for name, entry in tasks.items()}
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path} is no template file ({error}); expected {{group: {{subtask: ...}}}}") from error
        if not entries:
            raise DataError(f"{path} holds no sub-task")
        problems: list[Problem] = []
        return cls({name: _template(path, name, entry, problems) for name, entry in entries.items()}, problems)

    def motions(self, subtasks: Iterable[str]) -> frozenset[str]:
        """The motion placeholders in the phrasings of these sub-tasks."""
        templates = [self.templates[name] for name in subtasks]
        phrasings = {text for template in templates for text in (*template.inputs, *template.outputs)}
        return frozenset(part for text in phrasings for part in _PARTS.findall(text) if part in MOTIONS)

    @property
    def referring(self) -> frozenset[str]:
        """The sub-tasks whose condition is a reference motion."""
        inputs = ((name, " ".join(each.inputs)) for name, each in self.templates.items())
        return frozenset(name for name, text in inputs if REFERENCE in text)

    def tells_given(self, subtasks: Iterable[str]) -> bool:
        """Whether phrasings of these sub-tasks keep what a clip has been given apart from what follows."""
        return self.motions(subtasks) <= {GIVEN, FOLLOWING}

    def draw(self, subtask: str, clip: CaptionedClip, rng: np.random.Generator, cfg: DataConfig) -> Example:
        """An example of `subtask`: random phrasings filled with `clip`, a random caption and, for a clip that has them,
        its motion tokens (features otherwise). Lengths are multiples of `cfg.unit_length` frames, unless cut
        anywhere."""
        if subtask not in self.templates:
            raise ConfigError(f"no sub-task '{subtask}'; {nearest(subtask, self.subtasks)}")
        template = self.templates[subtask]
        if clip.history and not self.tells_given([subtask]):
            raise DataError(
                f"clip '{clip.name}' begins with a given motion, which sub-task '{subtask}' does not tell from what"
                " follows; set data.instructions=stream, or data.pairs=0"
            )
        filling = Filling.draw(clip, rng, cfg)
        asked = template.inputs[rng.integers(len(template.inputs))]
        prompt = filling.fill(asked, rng)
        target = filling.fill(template.outputs[rng.integers(len(template.outputs))], rng)
        supervised = None if any(isinstance(part, Reference) for part in prompt) else clip.supervised
        caption = filling.caption if CAPTION in asked else ""
        return Example(prompt, target, filling.num_frames, clip.name, supervised, caption)


@dataclass(frozen=True)
class Filling:
    """What placeholders stand for in one example: units [first, first + units) of `clip` and one of its captions.
    history: so many of them are given.

    A unit is a token, or a frame where `cfg` cuts anywhere."""

    clip: CaptionedClip
    caption: str
    first: int
    units: int
    cfg: DataConfig
    history: int = 0

    @classmethod
    def draw(cls, clip: CaptionedClip, rng: np.random.Generator, cfg: DataConfig) -> Filling:
        """A random caption; with `cfg.token_drop_probability` the clip loses its first or last unit, or is cropped,
        unless a beginning of it is given."""
        caption = clip.captions[rng.integers(len(clip.captions))]
        units = len(clip.tokens) if isinstance(clip.tokens, Tensor) else clip.num_frames // grid(cfg)
        if units < 1:
            raise DataError(f"clip '{clip.name}' is shorter than one unit of {cfg.unit_length} frames")
        history = clip.history // grid(cfg)
        if clip.history and history >= units:
            raise DataError(f"clip '{clip.name}': {clip.history} of {clip.num_frames} frames are given, none follows")
        if history:
            return cls(clip, caption, 0, units, cfg, history)
        drops, at_head = rng.random() < cfg.token_drop_probability, bool(rng.integers(2))
        if cfg.cut == "frame":
            return cls(clip, caption, *(_crop(units, cfg.unit_length, at_head, rng) if drops else (0, units)), cfg)
        if not drops or units <= FEWEST_UNITS:
            return cls(clip, caption, 0, units, cfg)
        return cls(clip, caption, int(at_head), units - 1, cfg)

    @property
    def num_frames(self) -> int:
        return self.units * grid(self.cfg)

    def fill(self, phrasing: str, rng: np.random.Generator) -> tuple[Segment, ...]:
        """The segments of a phrasing; neighbouring text is one segment. Captions are quoted all or none."""
        quoted = rng.random() < self.cfg.quote_probability
        segments: list[Segment] = []
        words = DURATION in phrasing and rng.random() < 0.5  # other phrasings draw what they always drew
        for segment in self._segments(phrasing, quoted, words):
            if isinstance(segment, Text) and segments and isinstance(segments[-1], Text):
                segment = Text(segments.pop().text + segment.text, verbatim=True)
            segments.append(segment)
        return tuple(segments)

    def _segments(self, phrasing: str, quoted: bool, words: bool) -> Iterator[Segment]:
        quoted = quoted and (self.cfg.requote or '"' not in self.caption)
        captions = {CAPTION: self.caption, PHRASE: self.caption.rstrip().removesuffix(".")}
        texts = {name: f'"{text}"' if quoted else text for name, text in captions.items()}
        texts |= {FRAMES: str(self._length()), SECONDS: self._seconds()}
        texts[DURATION] = spoken((self.units - self.history) * grid(self.cfg) / self.clip.fps, words)
        for part in filter(None, _PARTS.split(phrasing)):
            part = ALIASES.get(part, part)
            if part in MOTIONS:
                yield from self._clips(part)
            elif part == REFERENCE:
                yield self._reference()
            else:
                yield Text(texts.get(part, part), verbatim=True)

    def _length(self) -> int:
        """Of what follows, in frames, or in tokens as the published training names and cuts it."""
        units = self.units - self.history
        return units if self.cfg.legacy_token_lengths else units * grid(self.cfg)

    def _seconds(self) -> str:
        seconds = self._length() / self.clip.fps
        whole = self.cfg.compat_seconds or self.cfg.legacy_token_lengths
        return f"{math.floor(seconds) if whole else seconds:.1f}"

    def _clips(self, placeholder: str) -> Iterator[Clip]:
        parts = _parts(placeholder, self.units, self.cfg, self.history)
        yield from (self._stretch(start, stop) for start, stop in parts)

    def _reference(self) -> Reference:
        unit = grid(self.cfg)
        known = self.clip.features if self.clip.reference is None else self.clip.reference
        return Reference(known[self.first * unit : (self.first + self.units) * unit])

    def _stretch(self, start: int, stop: int) -> Clip:
        unit, a, b = grid(self.cfg), self.first + start, self.first + stop
        if isinstance(self.clip.tokens, Tensor):
            return Clip(tokens=self.clip.tokens[a:b], start=start * unit)
        if self.clip.tokens is not None:
            return Clip(tokens=self.clip.tokens[a * unit, b * unit], start=start * unit)
        return Clip(features=self.clip.features[a * unit : b * unit], start=start * unit)


def stretches(
    num_frames: int, placeholders: Iterable[str], cfg: DataConfig, history: int = 0
) -> tuple[tuple[int, int], ...]:
    """Every stretch (first frame, frame after the last) that a `Filling` of a clip of `num_frames` can put in place of
    the motion `placeholders`, each once, sorted. history: frames that are given. At most 15: three choices of a lost
    unit, five parts each.

    `DataError` where a clip is too short to be cut as a placeholder asks."""
    if cfg.legacy_token_lengths:
        raise ConfigError("data.legacy_token_lengths: this tokenizer has no tokens for frames; leave it out")
    if cfg.cut == "frame":
        raise ConfigError("data.cut=frame: too many stretches to keep latents of all; set training.cache_latents=false")
    units, unit = num_frames // cfg.unit_length, cfg.unit_length
    given = history // unit
    wholes = {(0, units)} if given or cfg.token_drop_probability < 1 or units <= FEWEST_UNITS else set()
    if not given and cfg.token_drop_probability > 0 and units > FEWEST_UNITS:
        wholes |= {(0, units - 1), (1, units - 1)}
    found = {
        ((first + start) * unit, (first + stop) * unit)
        for first, length in wholes
        for placeholder in placeholders
        for start, stop in _parts(placeholder, length, cfg, given)
    }
    return tuple(sorted(found))


def grid(cfg: DataConfig) -> int:
    """Frames at whose multiples clips are cut."""
    return 1 if cfg.cut == "frame" else cfg.unit_length


def _crop(frames: int, unit: int, shorter: bool, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and length of a stretch of whole units, one less where `shorter`, from any frame on."""
    length = max(frames // unit - shorter, 1) * unit
    return (0, frames) if length > frames else (int(rng.integers(frames - length + 1)), length)


def _parts(placeholder: str, units: int, cfg: DataConfig, history: int = 0) -> tuple[tuple[int, int], ...]:
    """What a motion placeholder stands for in a clip of so many units: stretches from unit to unit. history:
    units that are given."""
    if placeholder == GIVEN:
        return ((0, history),) if history else ()
    if placeholder == FOLLOWING:
        return ((history, units),)
    if placeholder == MOTION:
        return ((0, units),)
    if cfg.legacy_token_lengths:
        return _legacy_parts(placeholder, units, units / cfg.unit_length)
    if placeholder == MASKED:
        head, tail = inbetween_cut(units)
        return ((0, head), (tail, units))
    head = prediction_cut(units)
    return ((0, head),) if placeholder == HEAD else ((head, units),)


def _legacy_parts(placeholder: str, units: int, counted: float) -> tuple[tuple[int, int], ...]:
    """The stretches of a clip whose length in tokens is taken for frames (compat; spec motiongpt 3.4, 3.5): shares of
    `counted`, a quarter of the tokens there are. The head may be empty."""
    if placeholder == MASKED:
        return ((0, int(0.25 * counted + 1) - 1), (int(0.75 * counted + 1) - 1, units))
    head = int(0.2 * counted + 1) - 1
    return ((0, head),) if placeholder == HEAD else ((head, units),)


def prediction_cut(units: int) -> int:
    """Units of the given head in prediction: a fifth, at least one, and never all."""
    if units < 2:
        raise DataError("prediction needs a clip of at least 2 units; raise data.min_frames")
    return min(max(int(0.2 * units + 1) - 1, 1), units - 1)


def inbetween_cut(units: int) -> tuple[int, int]:
    """Units of the given head, and the unit at which the given tail starts: the middle half is hidden."""
    if units < 3:
        raise DataError("an in-between needs a clip of at least 3 units; raise data.min_frames")
    return max(int(0.25 * units + 1) - 1, 1), int(0.75 * units + 1) - 1


def _template(path: Path, name: str, entry: dict, problems: list[Problem]) -> Template:
    if not isinstance(entry, dict):
        raise DataError(f"{path}: sub-task '{name}' is no object with 'input' and 'output'")
    sides = {}
    for side in ("input", "output"):
        phrasings = entry.get(side)
        if not isinstance(phrasings, list) or not all(isinstance(text, str) for text in phrasings):
            raise DataError(f"{path}: sub-task '{name}' needs a list of sentences '{side}'")
        sides[side] = tuple(_usable(path, f"{name} {side}", phrasings, problems))
        if not sides[side]:
            raise DataError(f"{path}: sub-task '{name}' has no '{side}'")
    if any(REFERENCE in text for text in sides["output"]):
        raise DataError(f"{path}: sub-task '{name}': {REFERENCE} is a condition, in 'output' it is {MOTION}")
    return Template(str(entry.get("class", "")), sides["input"], sides["output"])


def _usable(path: Path, where: str, phrasings: list[str], problems: list[Problem]) -> Iterator[str]:
    seen = set()
    for phrasing in phrasings:
        for part in _PARTS.findall(phrasing):
            if part not in PLACEHOLDERS and part not in ALIASES:
                where = f"{path}: {where}: '{phrasing}'"
                raise DataError(f"{where}: unknown placeholder '{part}'; {nearest(part, PLACEHOLDERS, cutoff=0)}")
        if not phrasing.strip() or phrasing in seen:
            what = f"repeated: '{phrasing}'" if phrasing.strip() else "an empty phrasing"
            problems.append(Problem(str(path), 0, f"{where}: {what}, left out"))
            continue
        seen.add(phrasing)
        yield phrasing
