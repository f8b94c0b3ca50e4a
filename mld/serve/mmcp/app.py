"""The contract's addresses in the application: `GET /capabilities`, `POST /generate`, `GET /health`.

The official SDK reads requests, checks them against what the models can do and writes the glTF. It runs beside the
event loop, as a job like other requests: one at a time, of a bounded number, given up when nobody waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from mld.errors import CheckpointError, MldError
from mld.serve.api.jobs import Busy, GivenUp, Jobs
from mld.serve.guard import read_on
from mld.serve.mmcp import answering
from mld.serve.mmcp.envelope import PATHS, envelope, plain_line
from mld.serve.models import SPOKEN, Models

UNEXPECTED = "something went wrong on the server; its log says what"
ABSENT = "this server does not speak MMCP: the extra 'mmcp' is not installed there"
TOO_LARGE = f"the request is too large; up to {answering.LARGEST_BODY // 10**6} MB are taken"
NOTHING = "no model of this server makes motion from words"
METHODS = {"/capabilities": ("GET", "HEAD"), "/generate": ("POST",), "/health": ("GET", "HEAD")}
KEPT = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "headers", "client",
        "server")  # fmt: skip
CHECK: ContextVar[answering.Check] = ContextVar("check", default=lambda *_: None)
log = logging.getLogger(__name__)


def add(app: Any, models: Models, jobs: Jobs) -> None:
    """Put the addresses into a FastAPI application; they say so where the extra is missing."""
    from starlette.routing import Route

    reason = NOTHING if find_spec("motionmcp") else ABSENT
    able = models.able(SPOKEN) if reason is NOTHING else []
    bridge = Bridge(jobs, _sdk_app(models, able) if able else None, reason)
    app.router.routes += [Route(path, bridge, include_in_schema=False) for path in PATHS]


class Bridge:
    """ASGI: from the application to that of the SDK. sdk: None where there is none, for a reason."""

    def __init__(self, jobs: Jobs, sdk: Any, reason: str) -> None:
        self._jobs, self._sdk, self._reason = jobs, sdk, reason

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, headers, body = await self._answer(scope, receive)
        scope["route"] = SimpleNamespace(path=scope["path"])  # what requests are counted by
        kind = headers.pop("content-type", "application/json")
        named = {"content-type": kind, "content-length": str(len(body)), **headers}
        head = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Any, receive: Any) -> tuple[int, dict[str, str], bytes]:
        path, method = scope["path"], scope["method"]
        if self._sdk is None:
            return 404, {}, envelope(404, self._reason)
        if method not in METHODS[path]:
            return 405, {"allow": ", ".join(METHODS[path])}, envelope(405, f"{path} is asked with {METHODS[path][0]}")
        if path == "/health":
            return 200, {}, json.dumps({"status": "ok", "retargeting": "ready"}).encode()
        if path == "/capabilities":
            return await asyncio.to_thread(self._call, scope, b"", lambda *_: None)
        from starlette.exceptions import HTTPException
        from starlette.requests import Request

        try:
            body = await _body(receive)
        except HTTPException:  # of the gate: larger still
            await read_on(receive)
            body = None
        if body is None:
            return 413, {"connection": "close"}, envelope(413, TOO_LARGE)
        try:
            return await self._jobs.run(lambda check: self._call(scope, body, check),
                                        Request(scope, receive).is_disconnected)  # fmt: skip
        except Busy as error:
            return 429, {"retry-after": str(error.seconds)}, envelope(429, str(error))
        except GivenUp:
            return 504, {}, envelope(504, "the request took too long and was given up; ask for less at once")

    def _call(self, scope: Any, body: bytes, check: answering.Check) -> tuple[int, dict[str, str], bytes]:
        """What the SDK's application answers. check: may raise `GivenUp`, which ends it."""
        own = {"root_path": "", **{name: scope[name] for name in KEPT if name in scope}, "method": scope["method"]}
        if own["method"] == "HEAD":
            own["method"] = "GET"
        sent: list[Mapping[str, Any]] = []
        received = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Mapping[str, Any]:
            return next(received, {"type": "http.disconnect"})

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        CHECK.set(check)
        try:
            asyncio.run(self._sdk(own, receive, send))
        except GivenUp:
            raise
        except Exception:  # the last line of defence: clients get a sentence, the log has the whole story
            check()
            log.exception("an MMCP request failed")
            return 500, {}, envelope(500, UNEXPECTED)
        check()
        status = sent[0]["status"]
        content = b"".join(message.get("body", b"") for message in sent[1:])
        if status >= 400:
            return status, {}, plain_line(content)
        kinds = [value for name, value in sent[0]["headers"] if name.lower() == b"content-type"]
        return status, {"content-type": kinds[0].decode()}, content


async def _body(receive: Any) -> bytes | None:
    """The body of a request, None where it is too large. It is read to its end, or the client would not hear why."""
    parts, size = [], 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if size <= answering.LARGEST_BODY:
            parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts) if size <= answering.LARGEST_BODY else None


def _sdk_app(models: Models, names: list[str]) -> Any:
    """The application of the SDK for some of the models."""
    from motionmcp import Backbone, ModelSpec, MotionResult, ProtocolError, build_app

    @cache
    def spec(name: str) -> ModelSpec:
        return ModelSpec(**answering.about(models, name))

    class Model(Backbone):
        def __init__(self, name: str) -> None:
            self.model_id = name

        def capabilities(self) -> ModelSpec:
            return spec(self.model_id)

        def generate(self, request: Any) -> MotionResult:
            try:
                return MotionResult(**answering.answer(models.pipeline(self.model_id), request, CHECK.get()))
            except answering.Misfit as error:
                raise ProtocolError(error.code, str(error)) from error
            except CheckpointError as error:
                raise ProtocolError("model_unavailable", str(error)) from error
            except MldError as error:
                raise ProtocolError("invalid_request", str(error)) from error
            except GivenUp:
                raise
            except Exception as error:  # one of a batch: the others are answered
                log.exception("an MMCP request failed")
                raise ProtocolError("internal_error", UNEXPECTED) from error

    made = build_app([Model(name) for name in names], title="mld")
    made.middleware_stack = made.build_middleware_stack()  # once: requests come from several threads
    return made
