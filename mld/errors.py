"""Errors a user can mend. A command prints the message (what, where, how to mend) and exits with `exit_code`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # the clone, where pyproject.toml is in it


class MldError(Exception):
    """Wrong usage or input. The message is one or two lines: what is wrong, where, and what to do."""

    exit_code = 2


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


def missing_extra(package: str, extra: str) -> MldError:
    """The one-line error for an optional dependency: `missing_extra("gradio", "ui")`. The command in it is one that
    works: in a clone of the clone, else of the wheel; the name `mld` on the registry belongs to another package."""
    if (HOME / "pyproject.toml").is_file():
        how = f"in {HOME}: pip install -e '.[{extra}]'"
    else:
        how = f"pip install 'mld_toolkit-VERSION-py3-none-any.whl[{extra}]' with your wheel, or pip install {package}"
    return MldError(f"this needs the package '{package}', which is not installed; {how}")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """`did you mean 'x'?`, or the list of what is known when nothing is near."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=cutoff)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
