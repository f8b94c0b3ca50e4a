"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

import time
from typing import Any

STEPS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.133, 0.2, 0.35, 0.5, 1.0, 2.0)  # seconds; 0.133 is real time


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = own = CollectorRegistry()
        self.requests = Counter("mld_requests", "Requests by path and status", ["path", "status"], registry=own)
        self.seconds = Histogram("mld_request_seconds", "Seconds of a request", ["path"], registry=own)
        self.waiting = Gauge("mld_requests_open", "Requests in work and waiting", registry=own)
        self.sessions = Gauge("mld_stream_sessions", "Streams that are open", registry=own)
        self.connections = Gauge("mld_stream_connections", "Connections of streams", registry=own)
        self.frames = Counter("mld_stream_frames", "Frames made for streams", registry=own)
        self.steps = Histogram("mld_stream_step_seconds", "Seconds of one chunk for all streams that wait",
                               buckets=STEPS, registry=own)  # fmt: skip
        self.batch = Histogram("mld_stream_batch", "Streams served by one step", buckets=(1, 2, 4, 8, 16, 32, 64, 128),
                               registry=own)  # fmt: skip
        self.ended = Counter("mld_stream_ended", "Streams that ended, by reason", ["reason"], registry=own)

    def text(self) -> tuple[bytes, str]:
        """(content, its type)."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Counted:
    """ASGI: counts requests by the path of their route, so that there are few."""

    def __init__(self, app, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def counted(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
