"""Files and folders that appear whole or not at all, and what a file is known by.

What is being written stands beside its place under a hidden name, which tells the process that writes it. A process
that is killed leaves such a name behind; the next one that writes there, or looks for what is missing, mends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

HOST = re.sub(r"\W", "", platform.node())[:32]
NEW_FILE = re.compile(r"\..*\.(\d+)-(\w*)-[0-9a-f]{8}\.new(\.[^.]*)?")
AT_PLACE, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_LARGE = re.compile(r"[eE]\+?\d{3}|\d{300}")  # what a number beyond floats has in it
_written_now: set[str] = set()  # files and folders of this process
_swept: set[Path] = set()  # folders that this process has looked through


@contextlib.contextmanager
def atomically(path: str | Path) -> Iterator[Path]:
    """A file beside `path`, of the same suffix, that takes its place when the block ends without error.

    The folder is made if it is missing. The new file has the permissions that the process gives new files. What killed
    processes left in the folder is removed when a process first writes there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _swept:
        sweep(path.parent)
    new = path.with_name(f".{path.stem[:40]}.{os.getpid()}-{HOST}-{secrets.token_hex(4)}.new{path.suffix}")
    _written_now.add(new.name)
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield new
        os.replace(new, path)
    except Exception as error:
        raise _told(error, new, path) or error from error
    finally:
        new.unlink(missing_ok=True)
        _written_now.discard(new.name)


def _told(error: Exception, new: Path, place: Path) -> OSError | None:
    """What the system refused, with the name that the file has for others; none where that is told already, or where it
    is another matter. Libraries say it without a name, with "os error 28", or as what NumPy makes of a write cut short.
    """
    text = str(error)
    number = re.search(r"os error (\d+)", text)
    if isinstance(error, OSError) and error.errno is not None:
        named = str(new) if error.filename is None else os.fsdecode(error.filename)
        if named != str(new) and new not in Path(named).parents:
            return None
        place = place / Path(named).relative_to(new)
        return OSError(error.errno, error.strerror or os.strerror(error.errno), str(place))
    if number is not None:
        return OSError(int(number[1]), os.strerror(int(number[1])), str(place))
    if isinstance(error, OSError) and "requested and" in text:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    return None


def sweep(folder: Path) -> None:
    """Remove the files that killed processes of this machine had begun in a folder, where it lets itself be changed."""
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            parts = NEW_FILE.fullmatch(path.name)
            if parts and parts[2] == HOST and not _works(int(parts[1]), path.name) and not path.is_dir():
                path.unlink()


@contextlib.contextmanager
def replacing(folder: str | Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place, the older one's if there is one, when the block ends
    without error. At every moment one of the two is there, where the system can exchange names; elsewhere `recover`
    puts right what a kill between two renames leaves. `NotADirectoryError` where a file has that name."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    for left in _leftovers(folder):
        shutil.rmtree(left, ignore_errors=True)
    new = folder.with_name(f".{folder.name}.{os.getpid()}-{HOST}-{secrets.token_hex(4)}.new")
    old = new.with_suffix(".old")
    _written_now.add(new.stem)
    try:
        new.mkdir()
        yield new
        if not folder.exists():
            os.replace(new, folder)
        elif not _exchange(new, folder):
            os.replace(folder, old)
            os.replace(new, folder)
    except BaseException as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        if isinstance(error, Exception) and (told := _told(error, new, folder)):
            raise told from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        _written_now.discard(new.stem)


def recover(folder: str | Path) -> None:
    """Finish what a killed process had begun: where the older folder was already out of the way, the new one is whole
    and takes its place."""
    folder = Path(folder)
    if folder.exists():
        return
    for old in [path for path in _leftovers(folder) if path.suffix == ".old"]:
        new = old.with_suffix(".new")
        os.replace(new if new.exists() else old, folder)
        shutil.rmtree(old, ignore_errors=True)
        return


def _leftovers(folder: Path) -> list[Path]:
    """What killed processes of this machine left beside a folder that they were replacing."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)-(\w*)-[0-9a-f]{{8}}\.(new|old)")
    if not folder.parent.is_dir():
        return []
    found = [(path, name.fullmatch(path.name)) for path in sorted(folder.parent.iterdir())]
    return [path for path, parts in found if parts and parts[2] == HOST and not _works(int(parts[1]), path.stem)]


def _works(pid: int, name: str) -> bool:
    """Whether process `pid` is there and may still write the file or folder of that name."""
    if pid == os.getpid():
        return name in _written_now
    if os.name == "nt":  # there signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where that cannot be done."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    sys.audit("os.rename", *names, -1, -1)  # as os.rename tells it
    if hasattr(libc, "renameat2"):
        return libc.renameat2(AT_PLACE, names[0], AT_PLACE, names[1], EXCHANGE) == 0
    if hasattr(libc, "renamex_np"):  # macOS, where the flag is the same
        return libc.renamex_np(*names, EXCHANGE) == 0
    return False


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file (UTF-8), whole or not at all."""
    with atomically(path) as new:
        new.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Write strict JSON, whole or not at all; `ValueError` for NaN or infinity.

    Bytes of file names and arguments that are no characters, which Python keeps as lone surrogates, are escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text that may come from anywhere; `ValueError` says in a few words what is wrong with it:
    NaN and infinity, which are no JSON, numbers that no float holds, what is nested without end. Halves of UTF-16
    characters (`\\ud800`), which no file and no hash takes, become U+FFFD."""
    text = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
    large, half = _LARGE.search(text), _HALF.search(text)
    text = _ESCAPES.sub(_whole, text) if half else text
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite if large else None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def _whole(escape: re.Match[str]) -> str:
    return "\ufffd" if escape[1] else escape[0]


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits[:20])


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, readable by whom the process lets read new files (the library's own are private).

    `OSError` with the name of the file when the disk is full or does not let us write."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
    mode = path.stat().st_mode & 0o777
    try:
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    os.chmod(path, mode)


class _Stream:
    """A file of which NumPy knows nothing but how to write: given a real one, it loses the error of a short write."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write an `.npy` file. `OSError` when not all of it could be written."""
    import numpy as np

    with open(path, "wb") as file:
        np.save(_Stream(file), array, allow_pickle=False)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def place_for(path: Path, content: bytes) -> Path:
    """The path; another one with a number where it holds something else, so that nothing is lost."""
    number, place = 1, path
    while place.exists() and not (place.is_file() and place.read_bytes() == content):
        number += 1
        place = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return place
