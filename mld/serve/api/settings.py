"""What a server allows, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_BODY = 30_000_000  # bytes of a request: a motion file of 20 MB in base64
LARGEST_MESSAGE = 4_000_000  # bytes of a message on a stream: words, or the motion that it goes on from
LARGEST_FILE = 20_000_000  # bytes of a given motion


@dataclass(frozen=True)
class Settings:
    """token: what clients have to know, "" for nothing. waiting: requests that may wait beside the one in work; more
    are told to come back. timeout: seconds after which a request is given up. rate: requests, starts and new words of
    one address in a minute, 0 for any number.

    sessions: streams at once. lead_seconds: how far a stream is ahead of what its client has acknowledged. grace:
    seconds that a stream waits for a client whose connection was lost. patience: seconds after which a client that
    acknowledges nothing is let go. idle: the same where it asked for a pause. drain: seconds that what runs may take
    when the server ends. prefix: how the ids of sessions begin, where several processes serve one address."""

    token: str = ""
    waiting: int = 8
    timeout: float = 120.0
    rate: int = 240
    sessions: int = 64
    lead_seconds: float = 1.0
    grace: float = 30.0
    patience: float = 30.0
    idle: float = 600.0
    drain: float = 10.0
    prefix: str = ""
