"""The lines that users write: `text`, `text#120`, `text#path.npy`, `path.npy`, `a.npy#b.npy#6`, prompts with
`<motion>` and the placeholders of the published demo files. Where `.npy` stands, any motion file that can be read may.
Reading only; what a line means is up to the task.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mld.engine.checks import check_frames, frames_in
from mld.engine.given import given
from mld.errors import DataError, MldError, RequestError, shown
from mld.evaluation.task import Setting
from mld.example import Clip, Segment, Text
from mld.files import parse_json
from mld.motion.formats import readable_suffixes
from mld.motion.motion import Motion
from mld.reading import read_text
from tasks.clips import cut, part

LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds|f|frames)?", re.IGNORECASE)
SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(?:s|f)?\s*-\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds|f|frames)?", re.IGNORECASE)
REFERENCE = "ref:"  # in front of a motion that leads
MOST_PARTS = 8  # of a line between # that may make up one path
MOST_FPS = 1000.0
FEWEST = 16  # frames of a motion whose middle is filled
BRACKETS = re.compile(r"<(\w+)>")  # a placeholder where a word of these is in it; found in one pass
PLACEHOLDER_WORDS = ("motion", "placeholder")
LONGEST_LINE, LARGEST_FILE = 10_000, 50_000_000  # characters of a line, bytes of a file
LIKE_A_LENGTH = re.compile(
    r"[-+]?[.,]?\d\S*(\s+(fps|hz|ms|frame|second|m|min|minutes?|h|hours?))?|[-+]?(inf|infinity|nan)", re.IGNORECASE
)
ENDS_A_LINE_ELSEWHERE = dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), " ")


@dataclass(frozen=True)
class Line:
    """A line taken apart. length and unit: the number given, its unit "s", "f" or "" where none is written. span: from
    where to where, in the unit. reference: a motion that leads."""

    text: str
    motions: tuple[Path, ...] = ()
    length: float | None = None
    unit: str = ""
    caption: str = ""
    span: tuple[float, float] | None = None
    reference: Path | None = None

    def frames(self, setting: Setting, bare: str) -> int | None:
        """Wanted length in frames: the line's own, in its unit or else in `bare`, or that of the setting."""
        if self.length is None:
            return None if setting.seconds is None else frames_in(setting.seconds, setting.fps)
        seconds = (self.unit or bare) == "s"
        return check_frames(self.length * (setting.fps if seconds else 1), f"{self.length:g}")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of a request file, without blank lines and lines that start with `#`.

    A byte order mark and Windows line ends do no harm."""
    if not is_file(path):
        raise RequestError(f"no request file '{path}'; --example takes a text file with one request per line")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise DataError(f"{path}: {size:,} bytes; a request file has at most {LARGEST_FILE:,}")
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    lines = [line.strip() for line in content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")]
    wanted = [(number, line) for number, line in enumerate(lines, start=1) if line and not line.startswith(b"#")]
    _check_utf8(path, [line for _, line in wanted])
    for number, line in wanted:
        yield number, line.decode("utf-8", "surrogateescape").strip()


def _check_utf8(path: Path, lines: list[bytes]) -> None:
    """`DataError` where no line is UTF-8. A single one that is not is an error of that line alone."""
    for line in lines:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            continue
        return
    if lines:
        raise DataError(f"{path}: not UTF-8 text; save the file as UTF-8")


def is_file(path: Path) -> bool:
    """Whether a path that a user wrote is a file; what is no path at all is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def check_line(line: str) -> str:
    """The line with what ends a line elsewhere (U+2028, a form feed) made blank; `RequestError` for what is no line of
    text."""
    if len(line) > LONGEST_LINE:
        raise RequestError(f"a line of {len(line):,} characters; at most {LONGEST_LINE:,} are read")
    line = line.translate(ENDS_A_LINE_ELSEWHERE).strip()
    for letter in line:
        if unicodedata.category(letter) == "Cs":
            raise RequestError("the line holds bytes that are no characters; write it in UTF-8")
        if unicodedata.category(letter) == "Cc" and letter not in "\t\n\r":
            raise RequestError(f"the line holds the control character {letter!r}; leave it out")
    return line


def read_line(line: str, setting: Setting, spans: bool = False, references: bool = False) -> Line:
    """Take a line apart; `RequestError` for two lengths or a file that does not exist. spans, references: whether
    `2s-4s` and `ref:path.npy` are known to the task."""
    parts = _without_tags(check_line(line).split("#"))
    motions: list[Path] = []
    length, unit, span, reference = None, "", None, None
    while parts:
        field = parts[-1].strip()
        number = LENGTH.fullmatch(field) if len(parts) > 1 else None
        if number and length is not None:
            raise RequestError(f"two lengths are given, {shown(field)} and {length:g}; one is enough")
        taken = 1
        if number:
            length, unit = float(number[1]), (number[2] or "")[:1].lower()
        elif spans and span is None and len(parts) > 1 and (stretch := SPAN.fullmatch(field)):
            taken, span = 1, (float(stretch[1]), float(stretch[2]))
            unit = (stretch[3] or "s")[:1].lower()
        elif references and reference is None and field.lower().startswith(REFERENCE):
            taken, reference = _locate([field[len(REFERENCE) :]], setting.folder)
        elif field.rstrip("\"'").lower().endswith(readable_suffixes()):
            taken, path = _locate(parts, setting.folder)
            motions.insert(0, path)
        elif len(parts) > 1 and (not field or LIKE_A_LENGTH.fullmatch(field)):
            raise RequestError(f"{shown('#' + field)} is no length; write #120 (frames) or #6s (seconds), or no #")
        else:
            break
        del parts[-taken:]
    text, caption = "#".join(parts).strip(), ""
    if "#" in text and "caption_placeholder" in text.lower():
        text, caption = (piece.strip() for piece in text.split("#", 1))
    return Line(text, tuple(motions), length, unit, caption, span, reference)


def load_given(path: Path, setting: Setting) -> Clip:
    """A motion file as a clip of the model's representation; an array that `demo` wrote at the rate it was written."""
    return given(Motion.load(path, fps=_written_rate(path)), setting.representation)


def _written_rate(path: Path) -> float | None:
    """Frames per second of a file of joints, as the `index.json` beside it says that names it; none where none does."""
    if path.suffix != ".npy":
        return None
    try:
        results = parse_json(read_text(path.with_name("index.json")))["results"]
        rates = [entry["fps"] for entry in results if path.name in entry.get("files", ())]
        return float(rates[0]) if rates and 0 < float(rates[0]) <= MOST_FPS else None
    except (MldError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def the_motion(line: Line, setting: Setting) -> Clip:
    """The one motion of a line."""
    if len(line.motions) != 1:
        raise RequestError(f"one motion file is needed in the line, found {len(line.motions)}")
    return load_given(line.motions[0], setting)


def without_length(line: Line) -> Line:
    """The line; `RequestError` where it names a length that the task makes no use of."""
    if line.length is not None:
        given = f"{line.length:g}{line.unit}"
        raise RequestError(f"a length is given, {given}, but the motion says how long it is; leave it out")
    return line


def prompt_of(line: Line, setting: Setting, frames: int | None) -> tuple[Segment, ...] | None:
    """The prompt of a line that has placeholders, used word for word; None where it has none."""
    if not placeholders(line.text):
        return None
    clip = the_motion(line, setting) if line.motions else None
    fill = _Filler(clip, line.caption, frames or (len(clip.features) if clip else None), setting)
    segments: list[Segment] = []
    at = 0
    for found in placeholders(line.text):
        segments += [*_words(line.text[at : found.start()]), *fill(found[1])]
        at = found.end()
    return _merged([*segments, *_words(line.text[at:])])


def placeholders(text: str) -> list[re.Match[str]]:
    """What stands in a text for something else, known or not."""
    return [found for found in BRACKETS.finditer(text) if any(word in found[1].lower() for word in PLACEHOLDER_WORDS)]


class _Filler:
    """Puts clips and words in the place of placeholders. The cuts are those of the demo files: a fifth, a quarter."""

    def __init__(self, clip: Clip | None, caption: str, frames: int | None, setting: Setting) -> None:
        self.clip, self.caption, self.frames, self.fps = clip, caption, frames, setting.fps
        unit = setting.unit
        self.known: dict[str, Callable[[], list[Segment]]] = {
            "motion": lambda: [self._clip()],
            "motion_placeholder": lambda: [self._clip()],
            "motion_placeholder_s1": lambda: [head_of(self._clip(), unit)],
            "motion_placeholder_s2": lambda: [rest_of(self._clip(), unit)],
            "motion_placeholder_masked": lambda: list(ends_of(self._clip(), unit)),
            "caption_placeholder": self._caption,
            "frame_placeholder": lambda: _words(str(self._frames())),
            "second_placeholder": lambda: _words(f"{self._frames() / self.fps:.1f}"),
        }

    def __call__(self, name: str) -> list[Segment]:
        if name.lower() not in self.known:
            raise RequestError(
                f"<{name[:40]}> is not a placeholder; known: <motion>, <Motion_Placeholder>, <Motion_Placeholder_s1>, "
                "_s2, _Masked, <Caption_Placeholder>, <Frame_Placeholder>, <Second_Placeholder>"
            )
        return self.known[name.lower()]()

    def _clip(self) -> Clip:
        if self.clip is None:
            raise RequestError("the prompt has a motion placeholder but the line no motion; end it with #path.npy")
        return self.clip

    def _caption(self) -> list[Segment]:
        if not self.caption:
            raise RequestError("the prompt has <Caption_Placeholder> but the line no caption; end it with #caption")
        return _words(self.caption)

    def _frames(self) -> int:
        if self.frames is None:
            raise RequestError("the prompt names a length but the line has none; end it with #120 (frames) or #6s")
        return self.frames


def head_of(clip: Clip, unit: int) -> Clip:
    """The first fifth, cut to a multiple of `unit` frames."""
    return part(clip, 0, cut(0.2 * len(clip.features), unit))


def rest_of(clip: Clip, unit: int) -> Clip:
    """What follows the first fifth."""
    return part(clip, cut(0.2 * len(clip.features), unit), len(clip.features))


def ends_of(clip: Clip, unit: int, published: bool = False) -> tuple[Clip, Clip]:
    """The first and the last quarter, at most; `RequestError` where too little would lie between them. published: the
    last one may begin up to a unit earlier, as in the published tests."""
    frames, least = len(clip.features), max(4 * unit, FEWEST)
    if frames < least:
        raise RequestError(f"{frames} frames are too few to keep two ends and fill the middle; {least} are needed")
    first, last = cut(0.25 * frames, unit), cut(frames - int(0.25 * frames) + unit - 1, unit)
    last = cut(0.75 * frames, unit) if published else last
    return part(clip, 0, first), part(clip, last, frames)


def _words(text: str) -> list[Segment]:
    return [Text(text, verbatim=True)] if text else []


def _merged(segments: list[Segment]) -> tuple[Segment, ...]:
    """Neighbouring texts as one."""
    merged: list[Segment] = []
    for segment in segments:
        if merged and isinstance(segment, Text) and isinstance(merged[-1], Text):
            segment = Text(merged.pop().text + segment.text, verbatim=True)
        merged.append(segment)
    return tuple(merged)


def _without_tags(parts: list[str]) -> list[str]:
    """Only the caption of a line of a HumanML3D text file (`caption#word/POS ...#0.0#0.0`)."""
    tagged = len(parts) == 4 and "/" in parts[1] and all(LENGTH.fullmatch(p.strip()) or p == "nan" for p in parts[2:])
    return parts[:1] if tagged else parts


def unquoted(text: str) -> str:
    """A path without the quotes around it and the strokes before its blanks that a shell would have taken away."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text.replace("\\ ", " ")


def _locate(parts: list[str], folder: Path) -> tuple[int, Path]:
    """The file that the last parts of a line name, and how many parts that are: a name may hold a `#`, too."""
    for count in range(1, min(len(parts), MOST_PARTS) + 1):
        name = unquoted("#".join(parts[-count:]))
        try:
            named = Path(name).expanduser()
        except RuntimeError:  # ~somebody who is not there
            named = Path(name)
        for path in (folder / named, named):
            if is_file(path):
                return count, path
    missing, where = shown(unquoted(parts[-1])), shown(str(folder or "."), 120)[1:-1]
    raise RequestError(f"no file {missing}, neither in {where} nor in the working directory")
