"""Who may ask a server of this machine: names that it is known by, pages of its own address; and how it answers others.

Without it any web site could use the server as its owner does, by a name of its own that leads to this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
PATIENCE, MOST_READ = 10.0, 200_000_000  # seconds and bytes that are read of a request that was refused
HERE = "'self' data: blob:"
HEADERS = {  # whatever a page holds, its browser asks no other host
    "content-security-policy": f"default-src {HERE}; script-src {HERE} 'unsafe-inline' 'unsafe-eval'; "
                               f"style-src {HERE} 'unsafe-inline'; object-src 'none'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}  # fmt: skip


class Names:
    """host: the address that is served; allowed: more names. On all addresses, any number of one will do as a name:
    only names of words can be pointed to another machine."""

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(name.strip("[] ").lower() for name in allowed) - {""}  # as of an unset variable
        self._names = self._allowed | {*LOOPBACK, host.lower()}
        self._any_address = host in EVERYWHERE

    def refused(self, headers: Mapping[str, str], changes: bool) -> tuple[int, str]:
        """(status, sentence) of a request from elsewhere; (0, ""). changes: it does more than look."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._known(_name(f"//{host}")):
            return 403, "This server does not answer to that name; start it with --allow-host NAME to let it."
        same = origin is None or origin.lower().partition("://")[2] == host.lower()
        if not same and _name(origin or "") not in self._allowed:
            return 403, "Requests come from the page itself, or from no page."
        if origin is None and changes and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "Requests come from the page itself, or from no page."
        return 0, ""

    def _known(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


class Headers:
    """ASGI: adds `HEADERS` to every answer that lacks them."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        async def with_headers(message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                there = {name.lower() for name, _ in own}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": own + [pair for pair in more if pair[0] not in there]}
            await send(message)

        await self.app(scope, receive, with_headers)


def headers_of(scope) -> dict[str, str]:
    """Headers of a request, names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def changes(scope) -> bool:
    """Whether a request does more than look."""
    return scope.get("method", "GET") not in ("GET", "HEAD", "OPTIONS")


async def answer(
    scope, receive, send, status: int, body: bytes, kind: str, more: Mapping[str, str] | None = None
) -> None:
    """Answer a request without the application, and end its connection. A WebSocket is not opened.

    What the client still sends is read for a while and thrown away: it would not see the answer otherwise."""
    socket = scope["type"] == "websocket"
    if socket and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    named = {"content-type": kind, "content-length": str(len(body)), "connection": "close", **(more or {})}
    headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    start = "websocket.http.response" if socket else "http.response"
    await send({"type": f"{start}.start", "status": status, "headers": headers})
    if not socket and changes(scope):
        await send({"type": f"{start}.body", "body": body, "more_body": True})
        await read_on(receive)
        body = b""
    await send({"type": f"{start}.body", "body": body})


async def read_on(receive) -> None:
    """Until a body is over, for as long as a client is waited for."""
    size, until = 0, time.monotonic() + PATIENCE
    with contextlib.suppress(asyncio.TimeoutError):
        while size < MOST_READ and (left := until - time.monotonic()) > 0:
            message = await asyncio.wait_for(receive(), left)
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                return


def _name(address: str) -> str:
    """The host of an address, without its port; "" where it has none."""
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
