"""Who may ask this server: pages of its own address, under names that it is known by, and uploads within bounds.

Without it any web site could use the page as its owner does, by a name of its own that leads to this machine, or have
browsers store files here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from mld.serve.page.forms import LARGEST_RECEIVED

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
UPLOAD = "/gradio_api/upload"
LARGEST_QUESTION = 1_000_000  # bytes of a request that is no upload
MOST_STORED = 400_000_000  # bytes of all uploads together
MOST_FILES = 2000


class Guard:
    """ASGI: lets through what comes from the page, answers everything else itself, in one line.

    host: the address that is served; allowed: more names. On all addresses, any number of one will do as a name: only
    names of words can be pointed to another machine. uploads: the folder that uploads are stored in."""

    def __init__(self, app, host: str, allowed: Iterable[str], uploads: Path) -> None:
        self._app, self._uploads = app, uploads
        self._allowed = frozenset(name.strip("[]").lower() for name in allowed)
        self._names = self._allowed | {*LOOPBACK, host.lower()}
        self._any_address = host in EVERYWHERE
        self._coming = 0  # bytes of uploads that are on their way

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        changes = scope.get("method", "GET") not in ("GET", "HEAD", "OPTIONS")
        status, said = self._refused(headers, changes)
        size = 0
        if not status and changes:
            status, said, size = self._too_much(scope["path"], headers)
        if status:
            await _answer(scope, send, status, said)
            return
        self._coming += size
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming -= size

    def _refused(self, headers: dict[str, str], changes: bool) -> tuple[int, str]:
        """(status, sentence) of a request from elsewhere; (0, "")."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._known(_name(f"//{host}")):
            return 403, "This page does not answer to that name; start it with --allow-host NAME to let it."
        same = origin is None or origin.lower().partition("://")[2] == host.lower()
        if not same and _name(origin or "") not in self._allowed:
            return 403, "Requests come from the page itself."
        if origin is None and changes and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "Requests come from the page itself."
        return 0, ""

    def _known(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _too_much(self, path: str, headers: dict[str, str]) -> tuple[int, str, int]:
        """(status, sentence, bytes of an upload) of a request that brings something."""
        length, upload = headers.get("content-length", ""), path.rstrip("/") == UPLOAD
        if not length.isdecimal() or len(length) > 12:
            return (411, "The length of the request is missing.", 0) if upload or "transfer-encoding" in headers else (
                0, "", 0)  # fmt: skip
        size = int(length)
        if not upload:
            return (413, "That is too long a request.", 0) if size > LARGEST_QUESTION else (0, "", 0)
        if "origin" not in headers:
            return 403, "Uploads come from the page itself.", 0
        if size > LARGEST_RECEIVED * 1_000_000 + 100_000:
            return 413, f"Up to {LARGEST_RECEIVED} MB are taken here at once.", 0
        stored, files = _stored(self._uploads)
        if stored + self._coming + size > MOST_STORED or files >= MOST_FILES:
            return 507, "Too many uploads are kept at the moment; please try again in a minute.", 0
        return 0, "", size


def _name(address: str) -> str:
    """The host of an address, without its port; "" where it has none."""
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _stored(folder: Path) -> tuple[int, int]:
    """(bytes, number) of the files of a folder."""
    size = number = 0
    for path in folder.rglob("*"):
        try:
            size, number = size + path.stat().st_size, number + 1
        except FileNotFoundError:
            continue
    return size, number


async def _answer(scope, send, status: int, said: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = said.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
