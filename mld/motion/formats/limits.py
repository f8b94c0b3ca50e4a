"""What every reader keeps to: messages stay one short line, and a small file cannot ask for much memory."""

from __future__ import annotations

import reprlib
from pathlib import Path

from mld.errors import MotionFormatError

_STILL = 1 << 18  # joints x frames that any file may hold: 22 joints for ten minutes at 20 frames per second
_NOT_PRINTABLE = "\N{REPLACEMENT CHARACTER}"


def shown(value: object, most: int = 40) -> str:
    """What a file says at some place, for a message: printable and short, however long or deeply nested it is."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: most + 1]).decode("latin-1")
    text = value[: most + 1] if isinstance(value, str) else reprlib.repr(value)
    text = "".join(letter if letter.isprintable() else _NOT_PRINTABLE for letter in text)
    return text if len(text) <= most else text[:most] + "..."


def refuse_bomb(path: Path, size: int, frames: int, joints: int) -> None:
    """`MotionFormatError` where a file of `size` bytes unfolds to many joints over many frames, that hardly move."""
    if frames * joints > max(size, _STILL):
        raise MotionFormatError(f"{path}: {joints} joints, hardly any of them moving, over {frames} frames; that is no "
                                f"motion of {size} bytes")
