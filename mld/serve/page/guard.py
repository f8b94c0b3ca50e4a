"""Who may ask the page (`mld.serve.guard`), and uploads within bounds: without them any web site could have browsers
store files here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mld.serve.guard import Names, answer, changes, headers_of
from mld.serve.page.forms import LARGEST_RECEIVED

UPLOAD = "/gradio_api/upload"
LARGEST_QUESTION = 1_000_000  # bytes of a request that is no upload
MOST_STORED = 400_000_000  # bytes of all uploads together
MOST_FILES = 2000


class Guard:
    """ASGI: lets through what comes from the page, answers everything else itself, in one line.

    host, allowed: see `Names`. uploads: the folder that uploads are stored in."""

    def __init__(self, app, host: str, allowed: Iterable[str], uploads: Path) -> None:
        self._app, self._uploads = app, uploads
        self._names = Names(host, allowed)
        self._coming = 0  # bytes of uploads that are on their way

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        status, said = self._names.refused(headers, changes(scope))
        size = 0
        if not status and changes(scope):
            status, said, size = self._too_much(scope["path"], headers)
        if status:
            await answer(scope, receive, send, status, said.encode(), "text/plain; charset=utf-8")
            return
        self._coming += size
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming -= size

    def _too_much(self, path: str, headers: dict[str, str]) -> tuple[int, str, int]:
        """(status, sentence, bytes of an upload) of a request that brings something."""
        length, upload = headers.get("content-length", ""), path.rstrip("/").endswith(UPLOAD)
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


def _stored(folder: Path) -> tuple[int, int]:
    """(bytes, number) of the files of a folder."""
    size = number = 0
    for path in folder.rglob("*"):
        try:
            size, number = size + path.stat().st_size, number + 1
        except FileNotFoundError:
            continue
    return size, number
