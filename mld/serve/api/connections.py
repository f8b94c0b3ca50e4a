"""Connections that hold no place for nothing: requests have to arrive in time, and where all places are taken the one
that has been coming for longest makes room.

Uvicorn waits for ever for the rest of a request, so a few hundred connections that say nothing would shut out
everybody. Clients that have vanished, or that take no answer, are left to the system (`hardened`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from functools import cache
from typing import Any

HEAD = 20.0  # seconds for the lines before a body
BODY = 30.0  # seconds for a body, and one more for each `SLOWEST` bytes of it that came
SLOWEST = 20_000
VANISHED = 60  # seconds in which a client confirms what it was sent
LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n"
SAID = b'{"error": "the request did not arrive in time"}'


@cache
def connection_type() -> Any:
    """The class of connections that uvicorn is to use (extra: server)."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        """A connection of HTTP, until it becomes one of a stream."""

        _timer: asyncio.TimerHandle | None = None
        _part: Any = None  # what is being received, as h11 calls it
        _since = 0.0
        _received = 0
        _streams = False  # what comes is for the protocol of a stream, which has rules of its own

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._follow()
            if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
                others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
                coming = [one for one in others if one.comes]
                if coming:
                    min(coming, key=lambda one: one._since).drop()

        def data_received(self, data: bytes) -> None:
            self._received += len(data)
            super().data_received(data)
            self._follow()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._follow()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._rest()
            self._streams = True
            super().handle_websocket_upgrade(event)

        @property
        def comes(self) -> bool:
            """Whether a request is awaited, or has not arrived as a whole."""
            arrives = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
            return arrives and not self._streams and not self.transport.is_closing()

        def drop(self) -> None:
            """End it; a client that listens is told."""
            self._rest()
            if self.transport.is_closing():
                return
            body = self.conn.their_state is h11.SEND_BODY
            begun, answered = body or self.conn.trailing_data[0], body and self.cycle.response_started
            if begun and not answered:
                self.transport.write(LATE + b"content-length: %d\r\n\r\n" % len(SAID) + SAID)
            self.transport.close()

        def _follow(self) -> None:
            """Begin to wait where another part of a request is to come; between two requests uvicorn waits."""
            part = self.conn.their_state if self.comes and self.timeout_keep_alive_task is None else None
            if part is self._part:
                return
            self._rest()
            if part is not None:
                self._part, self._since, self._received = part, time.monotonic(), 0
                self._timer = self.loop.call_later(BODY if part is h11.SEND_BODY else HEAD, self._look)

        def _look(self) -> None:
            more = self._received / SLOWEST if self._part is h11.SEND_BODY else 0.0
            left = self._since + (BODY if self._part is h11.SEND_BODY else HEAD) + more - time.monotonic()
            if left > 0.01:
                self._timer = self.loop.call_later(left, self._look)
            else:
                self.drop()

        def _rest(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._part = None, None

    return Connection


def hardened(listening: socket.socket) -> socket.socket:
    """Let the system end connections (accepted ones inherit it) whose client has vanished or takes nothing, where it
    can."""
    options = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": VANISHED // 2, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3,
               "TCP_USER_TIMEOUT": VANISHED * 1000}  # fmt: skip
    for name, value in options.items():
        if (number := getattr(socket, name, None)) is not None:
            level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
            with contextlib.suppress(OSError):
                listening.setsockopt(level, number, value)
    return listening
