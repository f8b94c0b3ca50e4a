"""Runs the application with uvicorn, and ends it gently: on SIGTERM nothing begins any more, what runs may finish for a
while, and then streams are told."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from mld.errors import MldError
from mld.serve.api.settings import LARGEST_MESSAGE, Settings

log = logging.getLogger(__name__)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; `MldError` where the address cannot be used. Port 0 takes any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise MldError(f"port {port} on {host} cannot be used (taken by another program?); choose another: --port "
                       f"{port + 1}") from error  # fmt: skip


def serve(app: Any, listening: socket.socket, settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Answer until a signal comes. ready: is called once the server answers. A second signal ends it at once."""
    import uvicorn

    from mld.serve.api.connections import connection_type, hardened

    class Server(uvicorn.Server):
        until: float | None = None  # when what runs has to be done; None while nobody asked to end

        def handle_exit(self, sig: int, frame: Any) -> None:
            if self.until is None:
                self.until = time.monotonic() + settings.drain
            else:
                self.should_exit = self.force_exit = True

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

        async def on_tick(self, counter: int) -> bool:
            streams, jobs = app.state.streams, app.state.jobs
            if self.until is not None and not self.should_exit:
                if not streams.draining:
                    streams.drain()
                if (not jobs.open and not streams.number) or time.monotonic() > self.until:
                    streams.end_all()
                    await asyncio.sleep(0.3)  # for the last word to every client
                    self.should_exit = True
            return await super().on_tick(counter)

    config = uvicorn.Config(
        app, http=connection_type(), log_level="warning", access_log=False, ws_max_size=LARGEST_MESSAGE,
        ws_max_queue=16, ws_per_message_deflate=False, server_header=False, timeout_keep_alive=30,
        timeout_graceful_shutdown=5, limit_concurrency=4 * settings.sessions + 256,
        h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    asyncio.run(Server(config).serve(sockets=[hardened(listening)]))
