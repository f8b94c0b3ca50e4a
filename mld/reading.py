"""Files of strangers, read with bounds.

A name in a folder that somebody gives us may be a pipe, which lets a reader wait for ever, a device without end, or a
file of terabytes that takes no room on disk. So it is looked at before it is opened. `FileError` is an `OSError`, too:
who takes up a file that cannot be read takes up these.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mld.errors import DataError, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MOST = 200_000_000  # bytes of a file that is read whole: JSON, YAML, text, vocabularies
DESCRIBING = (".json", ".txt", ".yaml", ".model", ".jinja", ".py")  # files beside weights that libraries read whole


class FileError(DataError, OSError):
    """A file that cannot be read. strerror: why, in a few words."""


def check_file(path: str | Path, most: int | None = None) -> int:
    """Bytes of a file. `FileError` where it is none, such as a pipe, or has more than `most` bytes; `FileNotFoundError`
    where there is nothing."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error
    except ValueError as error:  # a name with a zero byte
        raise _error(path, str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise _error(path, "a folder, a file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise _error(path, "a pipe or a device, a file is needed")
    if most is not None and status.st_size > most:
        raise _error(path, f"{status.st_size:,} bytes; at most {most:,} are read")
    return status.st_size


def gone_wrong(path: str | Path) -> str:
    """What a download became instead of the file that was meant: a pointer or a web page; "" for anything else."""
    with open(path, "rb") as stream:
        start = stream.read(512)
    if start.startswith(b"version https://gi"):
        return "a Git LFS pointer, not {}; run 'git lfs pull'"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not {}; download the file that the page offers"
    return ""


def read_bytes(path: str | Path, most: int = MOST) -> bytes:
    """The content of a file; errors as `check_file`."""
    check_file(path, most)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error


def read_text(path: str | Path, most: int = MOST, errors: str = "strict") -> str:
    """The text of a file, UTF-8 with or without a byte order mark, line ends as `\\n`; errors as `check_file`, and
    `ValueError` for what is no text unless errors is "replace"."""
    text = read_bytes(path, most).decode("utf-8-sig", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_array(path: str | Path, most: int | None = None) -> np.ndarray:
    """The array of a `.npy` file; errors as `check_file`, and `ValueError` for all that is no array."""
    import tokenize

    import numpy as np

    check_file(path, most)
    try:
        with open(path, "rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False, max_header_size=1 << 14)
    except (TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError, MemoryError, RecursionError,
            EOFError, tokenize.TokenError) as error:  # fmt: skip
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; errors as `check_file`, and `FileError` for damage."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _error(path, f"damaged or not a safetensors file ({error})") from error


def check_folder(folder: Path) -> None:
    """`FileError` where a folder that a library is to read holds something else than files and folders, or a
    description that is too large to be one."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir() and path.exists():
            check_file(path, MOST if path.suffix in DESCRIBING else None)


def _error(path: str | Path, reason: str) -> FileError:
    error = FileError(f"{shown(str(path), 200)[1:-1]}: {reason}")
    error.strerror = reason
    return error
