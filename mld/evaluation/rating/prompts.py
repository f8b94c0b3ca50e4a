"""A user's file of prompts: one a line, known by its line number, a category behind a tab where there is one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from mld.errors import DataError, RequestError
from mld.reading import read_text

LARGEST = 50_000_000  # bytes of a file
LONGEST = 10_000  # characters of a prompt
SLUG = 40
NAMED = 8  # line numbers in a message


@dataclass(frozen=True)
class Prompt:
    """line: its number in the file, from 1 on; equal texts in several lines are several prompts. error: why it cannot
    be asked."""

    line: int
    text: str
    category: str = ""
    error: str = ""

    @property
    def folder(self) -> str:
        """A name for a folder whatever is in the text: `007-drink-water`."""
        plain = unicodedata.normalize("NFKD", self.text[:200]).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG].rstrip("-")
        return f"{self.line:03d}-{slug or 'prompt'}"


def read_prompts(path: Path) -> tuple[list[Prompt], list[str]]:
    """The prompts of a UTF-8 file and what is to be told of it (blank lines); `DataError` where it is no text or holds
    no prompt."""
    try:
        lines = read_text(path, LARGEST).split("\n")
    except FileNotFoundError as error:
        raise RequestError(f"no file '{path}'; name a text file with one prompt per line") from error
    except ValueError as error:
        raise DataError(f"{path}: not UTF-8 text; save the file as UTF-8") from error
    if lines[-1] == "":
        lines.pop()
    prompts, blank = [], []
    for number, line in enumerate(lines, start=1):
        text, _, category = line.partition("\t")
        if not text.strip():
            blank.append(number)
            continue
        prompts.append(Prompt(number, " ".join(text.split()), " ".join(category.split()), _wrong(text)))
    if not prompts:
        raise DataError(f"{path}: no prompt in it; write one per line")
    more = ", ..." if len(blank) > NAMED else ""
    told = f"{path}: {len(blank)} blank, left out: line {', '.join(map(str, blank[:NAMED]))}{more}"
    return prompts, [told] if blank else []


def _wrong(text: str) -> str:
    if len(text) > LONGEST:
        return f"{len(text):,} characters; at most {LONGEST:,} are read"
    odd = next((letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs") and not letter.isspace()), "")
    return f"it holds the control character {odd!r}; leave it out" if odd else ""
