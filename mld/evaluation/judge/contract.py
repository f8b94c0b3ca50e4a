"""What a judge promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mld.errors import MldError

# What goes before every question; so a question speaks of "the pictures" alone.
ABOUT = "The {count} pictures are frames of one video in order of time, {fps:g} per second."


class JudgeError(MldError):
    """A judge gives no answer. lasting: nor will it give one to another question of this run."""

    def __init__(self, message: object = "", lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class Judge(Protocol):
    """Looks at pictures and answers."""

    @property
    def identity(self) -> str:
        """What the judge is known by, without keys; answers of another identity are other answers."""
        ...

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        """The answer to a question about a video, its frames as JPEG or PNG files, `fps` per second of it.

        `JudgeError` in one line where there is none. May be called from several threads."""
        ...


def introduced(question: str, pictures: Sequence[bytes], fps: float) -> str:
    """A question with what the pictures are before it."""
    return f"{ABOUT.format(count=len(pictures), fps=fps)}\n\n{question}"
