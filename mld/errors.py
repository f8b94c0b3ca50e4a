"""Errors a user can mend. A door prints the message (what, where, how to mend) and exits with `exit_code`."""

from __future__ import annotations


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
    """The one-line error for an optional dependency: `missing_extra("gradio", "ui")`."""
    return MldError(f"this needs the package '{package}', which is not installed: pip install 'mld[{extra}]'")
