"""The gate of the server: known names and origins, the token, sizes, rates. What is refused gets one line of JSON."""

from __future__ import annotations

import hmac
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from mld.serve.api.settings import LARGEST_BODY, Settings
from mld.serve.guard import Names, answer, changes, headers_of
from mld.serve.mmcp.envelope import PATHS, envelope
from mld.serve.protocol import BEARER

# Pages and whether it is up: for everyone who may ask at all.
OPEN = ("/v1/health", "/health", "/docs", "/live", "/openapi.json")
TOO_LARGE = f"the request is too large; up to {LARGEST_BODY // 1_000_000} MB are taken"
MOST_ADDRESSES = 4096  # that rates are kept of; who asked longest ago goes


class Rates:
    """A bucket of `rate` tokens for each address, filled again in a minute."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> int:
        """0 where the address may ask, else the seconds after which it may."""
        if not self.rate:
            return 0
        now = self._clock()
        left, then = self._left.pop(address, (float(self.rate), now))
        left = min(self.rate, left + (now - then) * self.rate / 60)
        wait = 0 if left >= 1 else math.ceil((1 - left) * 60 / self.rate)
        self._left[address] = (left if wait else left - 1, now)
        while len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return wait


class Gate:
    """ASGI: lets through who may ask, with bodies of a bounded size. draining: whether the server is ending."""

    def __init__(
        self, app, settings: Settings, host: str, allowed: Iterable[str], rates: Rates, draining: Callable[[], bool]
    ) -> None:
        self._app, self._settings, self._rates, self._draining = app, settings, rates, draining
        self._names = Names(host, allowed)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, path = headers_of(scope), scope["path"]
        ours = path.startswith("/v1/") or path in PATHS
        status, said, more = self._refused(scope, headers, ours)
        if status:
            body = envelope(status, said) if path in PATHS else _line(said)
            await answer(scope, receive, send, status, body, "application/json", more)
        elif scope["type"] == "http" and ours and changes(scope):
            await self._app(scope, _Bounded(receive), send)
        else:
            await self._app(scope, receive, send)

    def _refused(self, scope, headers: dict[str, str], ours: bool) -> tuple[int, str, dict[str, str]]:
        """(status, sentence, headers) of what is refused; (0, ...)."""
        socket = scope["type"] == "websocket"
        status, said = self._names.refused(headers, socket or changes(scope))
        if status:
            return status, said, {}
        if self._settings.token and scope["path"] not in OPEN and not self._known(headers):
            said = "a token is needed: send the header 'Authorization: Bearer TOKEN'"
            return 401, said, {"WWW-Authenticate": "Bearer"}
        if not ours or not (socket or changes(scope)):
            return 0, "", {}
        if self._draining():
            return 503, "the server is ending; try again in a moment", {"Retry-After": "10"}
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 12 or int(length) > LARGEST_BODY:
            return 413, TOO_LARGE, {}
        if wait := self._rates.take(address_of(scope)):
            return 429, f"more than {self._rates.rate} requests in a minute; try again in {wait} s", {
                "Retry-After": str(wait)}  # fmt: skip
        return 0, "", {}

    def _known(self, headers: dict[str, str]) -> bool:
        """Whether a request knows the token: in a header, or, where a browser opens a WebSocket, in a subprotocol."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        offered = [given.strip()] if kind.lower() == "bearer" else []
        protocols = (one.strip() for one in headers.get("sec-websocket-protocol", "").split(","))
        offered += [one.removeprefix(BEARER) for one in protocols if one.startswith(BEARER)]
        token = self._settings.token.encode()
        return sum(hmac.compare_digest(one.encode("latin-1", "replace"), token) for one in offered) > 0


class _Bounded:
    """receive: of a body that is counted while it comes. What comes after a refusal is read to be thrown away."""

    def __init__(self, receive) -> None:
        self._receive, self._seen, self._refused = receive, 0, False

    async def __call__(self):
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > LARGEST_BODY and not self._refused:
            self._refused = True
            from starlette.exceptions import HTTPException

            raise HTTPException(413, TOO_LARGE)
        return message


def address_of(scope) -> str:
    """Who asks, as far as the connection says."""
    return (scope.get("client") or ("",))[0]


def _line(said: str) -> bytes:
    return json.dumps({"error": said}, ensure_ascii=False).encode()
