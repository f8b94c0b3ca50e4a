"""What the engine is asked and what it answers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from torch import Tensor

from mld.errors import RequestError
from mld.example import Segment
from mld.motion.motion import Motion

Result = TypeVar("Result")
LONGEST_NAME = 60  # characters of a request's name in a message


@dataclass(frozen=True)
class Request:
    """A prompt and what is wanted from it.

    num_frames: wanted length of the whole motion (None: the model decides; for an in-between the tail fixes it).
    seed: the answer depends on the request and this seed alone, never on the batch it is served in.
    notes: what was made of what somebody asked, which the answer says.
    """

    prompt: tuple[Segment, ...]
    output: Literal["motion", "text"]
    num_frames: int | None = None
    seed: int = 0
    name: str = ""
    notes: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class TimedCaption:
    """What is said about a part of a motion, from `start` to `stop` in seconds."""

    start: float
    stop: float
    text: str

    def __str__(self) -> str:
        return f"[{self.start:.1f}-{self.stop:.1f} s] {self.text}"


@dataclass(frozen=True, eq=False)
class Answer:
    """motion: the whole motion, given frames included. features: (T, D) raw. tokens: the generated codes (L,), or
    latents (L, C); first_frame: at which the first of them begins. complete: the model ended its answer itself (False:
    it hit the length limit). captions: the parts of `text`, where the motion was longer than the model reads."""

    request: Request
    motion: Motion | None = None
    text: str = ""
    captions: tuple[TimedCaption, ...] = ()
    features: Tensor | None = None
    tokens: Tensor | None = None
    first_frame: int = 0
    complete: bool = True
    notes: tuple[str, ...] = field(default=())


def named(request: Request, function: Callable[..., Result], *args: Any) -> Result:
    """Call a function; its `RequestError` gets the request's name in front."""
    try:
        return function(*args)
    except RequestError as error:
        name = textwrap.shorten(request.name, LONGEST_NAME, placeholder=" ...")
        name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # what came as bytes that are no characters
        raise RequestError(f"{name}: {error}" if name else str(error)) from error
