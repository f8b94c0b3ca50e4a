"""Errors a user can mend. A command prints the message (what, where, how to mend) and exits with `exit_code`.

A message holds what files and people wrote, which may be anything. So it is one line that can be printed, and no longer
than `LONGEST`, whatever it was made of: of a longer one the middle is left out, as where comes first and how to mend
last.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # the clone, where pyproject.toml is in it

LONGEST, GAP = 300, " ... "  # characters of a message
SHOWN = 60  # characters of a value within one
_WORD = re.compile(r"[^\s/]{100,}")


class MldError(Exception):
    """Wrong usage or input. The message is one line: what is wrong, where, and what to do. details: lines that a
    command prints before it, such as the list of all that does not fit."""

    exit_code = 2

    def __init__(self, message: object = "", details: str = "") -> None:
        super().__init__(one_line(str(message)))
        self.details = details


class ConfigError(MldError):
    """A config file or override has an unknown, missing or mistyped key."""


class DataError(MldError):
    """A dataset folder or one of its files cannot be used."""


class MotionFormatError(DataError):
    """A motion file cannot be read: names the file and, where there is one, the line or offset."""


class CheckpointError(MldError):
    """A checkpoint or model folder does not fit the model it is loaded into."""


class RequestError(MldError):
    """A generation request cannot be served."""


class TooLong(RequestError):
    """A request whose given motions are longer than the model reads; with shorter ones it could be served."""


def missing_extra(package: str, extra: str) -> MldError:
    """The one-line error for an optional dependency: `missing_extra("gradio", "ui")`. The command in it is one that
    works: in a clone of the clone, else of the wheel; the name `mld` on the registry belongs to another package."""
    if (HOME / "pyproject.toml").is_file():
        how = f"in {HOME}: pip install -e '.[{extra}]'"
    else:
        how = f"pip install 'mld_toolkit-VERSION-py3-none-any.whl[{extra}]' with your wheel, or pip install {package}"
    return MldError(f"this needs the package '{package}', which is not installed; {how}")


def nearest(word: object, known: Iterable[str], cutoff: float = 0.5) -> str:
    """`did you mean 'x'?`, or the list of what is known when nothing is near."""
    known = [str(name) for name in known]
    word = word[:200] if isinstance(word, str) else shown(word)  # of long words the comparison would be slow
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def one_line(text: str) -> str:
    """A text as one line that can be printed, of at most `LONGEST` characters; words and middle are cut."""
    if not text.isprintable():
        text = " ".join(text[: 100 * LONGEST].split())
        text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    if len(text) > LONGEST:
        text = _WORD.sub(lambda word: f"{word[0][:50]}...{word[0][-20:]}", text)
    if len(text) > LONGEST:
        tail = LONGEST // 3
        text = text[: LONGEST - tail - len(GAP)] + GAP + text[-tail:]
    return text


def shown(value: object, most: int = SHOWN) -> str:
    """A value in a message, short however long or deeply nested it is; text in quotes."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {int(value.bit_length() * 0.30103)} digits"
    text = repr(value[: most + 1]) if isinstance(value, (str, bytes)) else _repr.repr(value)
    return text if len(text) <= most + 2 else text[:most] + "..."


class _Repr(reprlib.Repr):
    """Values of files, short; Python itself refuses to write numbers of many digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlong = self.maxstring = self.maxother = SHOWN

    def repr_int(self, number: int, level: int) -> str:
        return shown(number) if number.bit_length() > 200 else repr(number)


_repr = _Repr()
