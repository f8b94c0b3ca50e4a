"""Lettering for pictures and videos: the font built into Pillow, and wrapping of captions to a width in pixels."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

ELLIPSIS = "..."


@lru_cache(maxsize=16)
def font(size: int):
    """Pillow's own font at `size` pixels; no font file is needed on the machine."""
    return ImageFont.load_default(size)


def wrap(text: str, size: int, width: float, max_lines: int = 2) -> list[str]:
    """Break `text` into at most `max_lines` lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    face = font(size)
    lines: list[str] = []
    current = ""
    for word in _pieces(text, face, width):
        longer = f"{current} {word}".strip()
        if current and face.getlength(longer) > width:
            lines.append(current)
            current = word
        else:
            current = longer
    if current:
        lines.append(current)
    if len(lines) <= max_lines:
        return lines
    return [*lines[: max_lines - 1], _shorten(lines[max_lines - 1], face, width)]


def _pieces(text: str, face, width: float):
    """The words of a text, with words wider than a whole line cut into parts."""
    for word in text.split():
        while face.getlength(word) > width and len(word) > 1:
            fits = max((n for n in range(1, len(word)) if face.getlength(word[:n]) <= width), default=1)
            yield word[:fits]
            word = word[fits:]
        yield word


def _shorten(line: str, face, width: float) -> str:
    while line and face.getlength(line + ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip() + ELLIPSIS
