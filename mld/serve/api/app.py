"""The application: addresses, what they take and give, and what happens when something is wrong.

Annotations are evaluated here (no `from __future__`), as FastAPI reads those of functions inside functions.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from mld.errors import MldError, missing_extra, one_line, shown
from mld.serve.api.bodies import DESCRIBE, GENERATE, Describe, Generate
from mld.serve.api.conversation import Conversation
from mld.serve.api.gate import Gate, Rates, address_of
from mld.serve.api.jobs import Busy, GivenUp, Jobs
from mld.serve.api.metrics import Counted, Metrics
from mld.serve.api.service import Service
from mld.serve.api.settings import Settings
from mld.serve.api.streams import Streams
from mld.serve.guard import Headers
from mld.serve.mmcp import app as mmcp
from mld.serve.models import Models
from mld.serve.page.forms import Form
from mld.serve.protocol import SUBPROTOCOL
from mld.version import __version__

WEB = Path(__file__).parent / "web"
NO_OBJECT = "the body has to be a JSON object, under the header 'Content-Type: application/json'"
UNREAD = "the body is no JSON that can be read: it is in UTF-8, not too deeply nested, without numbers of many digits"
UNEXPECTED = "something went wrong on the server; its log says what"
log = logging.getLogger(__name__)


def create_app(models: Models, forms: Mapping[str, Form], settings: Settings | None = None,
               host: str = "127.0.0.1", allowed: Iterable[str] = ()) -> Any:  # fmt: skip
    """A FastAPI application. forms: what can be asked, by task. host: the address that is served, allowed: more names
    under which it may be asked. `app.state.streams` are its streams. `MldError` where the extra is missing."""
    fastapi, settings = require(), settings or Settings()
    metrics, rates = Metrics(), Rates(settings.rate)
    service, jobs = Service(models, forms), Jobs(settings.waiting, settings.timeout)
    streams = Streams(service, settings, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        sweeper = asyncio.create_task(streams.sweep_for_ever())
        try:
            yield
        finally:
            sweeper.cancel()
            await streams.close()
            await asyncio.to_thread(jobs.close)

    app = fastapi.FastAPI(
        title="mld", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        summary="Human motion from text, words for motion, and motion without an end",
    )  # fmt: skip
    app.state.streams, app.state.jobs = streams, jobs
    _add_requests(app, fastapi, service, jobs, metrics, streams)
    _add_stream(app, fastapi, streams, rates, metrics)
    _add_pages(app, fastapi)
    mmcp.add(app, models, jobs)
    _add_errors(app, fastapi)
    app.add_middleware(Gate, settings=settings, host=host, allowed=tuple(allowed), rates=rates,
                       draining=lambda: streams.draining)  # fmt: skip
    app.add_middleware(Counted, metrics=metrics)
    app.add_middleware(Headers)
    return app


def require() -> Any:
    """FastAPI; `MldError` names the extra where a package of it is missing."""
    try:
        import fastapi
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "server") from error
    return fastapi


def _add_requests(app, fastapi, service: Service, jobs: Jobs, metrics: Metrics, streams: Streams) -> None:
    Request, Response, Asked = fastapi.Request, fastapi.Response, fastapi.Body
    errors: dict[int | str, dict[str, Any]] = {
        code: {"description": said, "content": {"application/json": {"example": {"error": said}}}}
        for code, said in (
            (400, "what is asked cannot be done"), (429, "too many ask; Retry-After says when to come back"),
            (503, "the server is ending"), (504, "the request took too long"),
        )
    }  # fmt: skip

    @app.post("/v1/generate", summary="Make motions (or words) from text and motions", responses=errors)
    async def generate(request: Request, body: Annotated[Generate, Asked(openapi_examples=GENERATE)]) -> Response:
        made = await jobs.run(lambda check: service.generate(body, check), request.is_disconnected)
        kind = "application/json" if made.kind == "json" else made.kind
        named = {} if made.kind == "json" else {"Content-Disposition": f'attachment; filename="{made.name}"'}
        return Response(made.content, media_type=kind, headers={**named, **made.about})

    @app.post("/v1/describe", summary="Say what a motion shows", responses=errors)
    async def describe(request: Request, body: Annotated[Describe, Asked(openapi_examples=DESCRIBE)]) -> Any:
        return await jobs.run(lambda check: service.describe(body, check), request.is_disconnected)

    @app.get("/v1/models", summary="The models, what each can be asked, and which stream")
    async def models() -> dict[str, Any]:
        return {"models": await asyncio.to_thread(service.list)}

    @app.get("/v1/health", summary="Whether the server answers, and how busy it is")
    async def health() -> dict[str, Any]:
        state = "ending" if streams.draining else "ok"
        return {"status": state, "version": __version__, "requests": jobs.open, "streams": streams.number}

    @app.get("/v1/metrics", summary="Counters in the text format of Prometheus")
    async def counters() -> Response:
        metrics.waiting.set(jobs.open)
        content, kind = metrics.text()
        return Response(content, media_type=kind)


def _add_stream(app, fastapi, streams: Streams, rates: Rates, metrics: Metrics) -> None:
    WebSocket = fastapi.WebSocket

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        metrics.connections.inc()
        try:
            await Conversation(socket, streams, rates, address_of(socket.scope)).run()
        except ConnectionError:
            log.debug("a stream lost its connection")
        finally:
            metrics.connections.dec()


def _add_pages(app, fastapi) -> None:
    from fastapi.responses import HTMLResponse

    from mld.serve.api.live_page import live_page

    @app.get("/docs", include_in_schema=False)
    async def reference() -> HTMLResponse:
        return HTMLResponse((WEB / "reference.html").read_text(encoding="utf-8"))

    @app.get("/live", include_in_schema=False)
    async def live() -> HTMLResponse:
        return HTMLResponse(live_page())


def _add_errors(app, fastapi) -> None:
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import RedirectResponse
    from starlette.exceptions import HTTPException

    def said(status: int, error: str, **headers: str):
        body = json.dumps({"error": one_line(error)}, ensure_ascii=False).encode()
        return fastapi.Response(body, status, headers=headers, media_type="application/json")

    @app.exception_handler(MldError)
    async def mistake(_, error):
        return said(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def misfit(_, error):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return said(400, f"the body is no JSON ({first.get('ctx', {}).get('error', 'damaged')})")
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        if not where:
            return said(422, NO_OBJECT)
        if first["type"] == "unexpected_keyword_argument":
            return said(422, f"{where}: no such field; /docs says which there are")
        return said(422, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def plain(request, error):
        if isinstance(error.__cause__, (ValueError, RecursionError)):
            return said(error.status_code, UNREAD)
        where, headers = shown(request.url.path), error.headers or {}
        if error.status_code == 404 and request.url.path == "/":  # where `--page` is not: a browser is shown the way
            return RedirectResponse("docs")
        if error.status_code == 404 and request.url.path == "/v1/stream":
            return said(404, f"{where} takes WebSockets (ws://...); /docs says how to talk to it")
        if error.status_code == 404:
            return said(404, f"nothing is at {where}; /docs lists the addresses")
        if error.status_code == 405:
            ways = headers.get("Allow", "another method")
            return said(405, f"{where} is asked by {ways}, not by {request.method}; /docs says how", **headers)
        return said(error.status_code, str(error.detail), **headers)

    @app.exception_handler(Busy)
    async def busy(_, error):
        return said(429, str(error), **{"Retry-After": str(error.seconds)})

    @app.exception_handler(GivenUp)
    async def late(_, error):
        return said(504, "the request took too long and was given up; ask for less at once")

    @app.exception_handler(Exception)
    async def unexpected(_, error):
        return said(500, UNEXPECTED)
