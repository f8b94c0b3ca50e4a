"""Streams on more than one machine, by Ray Serve: shards that hold sessions, and a front that finds them.

    mld serve --shards 4                                     here, or in the cluster that RAY_ADDRESS names
    serve run commands.shards:app shards=4 model=FOLDER      where Ray asks for an application: KubeRay, config files

A session lives in the memory of one process. Every shard is a deployment with one replica of its own, so that a call of
its handle reaches that process and no other; routing by model id or by hash, which Ray has as well, are preferences
that it gives up under load or when replicas come and go. Ray starts a shard that failed again: its sessions are lost,
all others go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mld.errors import MldError, missing_extra
from mld.serve.api.settings import Settings
from mld.serve.api.shards import Front, Message, Shard, prefix
from mld.serve.page.forms import Form

NAME = "mld"  # of the application in Ray Serve
SHARDS_PER_FRONT = 8
QUIET = {"enable_access_log": False}  # a line for every acknowledged chunk
# For the processes that Ray starts here: it tells its makers nothing, gives a busy machine time to start, and lets
# shards have the processor like other programs (by itself it makes them wait for all others).
DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "55",
    "RAY_worker_niceness": "0",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What shards serve. models: folders or hub ids, found on every machine. better, weights, sampling,
    text_encoder: as in `Models`.
    forms, host, allowed: as in `create_app`. cpus, gpus: of one shard; None: a GPU where the device is one."""

    models: tuple[str, ...]
    forms: Mapping[str, Form]
    shards: int = 2
    device: str = "cpu"
    kept: int = 2
    host: str = "127.0.0.1"
    allowed: tuple[str, ...] = ()
    better: tuple[tuple[str, str], ...] = ()
    cpus: float = 1.0
    gpus: float | None = None
    settings: Settings = Settings()
    weights: str = "float32"
    sampling: tuple[tuple[str, str], ...] = ()
    text_encoder: str = "keep"


def require() -> Any:
    """`ray.serve`; `MldError` names the extra where it is missing."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from ray import serve
    except ImportError as error:
        raise missing_extra(str(error.name or "ray"), "ray") from error
    return serve


class Replica:
    """A shard as Ray runs it."""

    async def __init__(self, number: int, plan: Plan) -> None:
        from mld.serve.api.app import create_app
        from mld.serve.models import Models

        models = Models(plan.models, plan.device, better=dict(plan.better), kept=plan.kept, weights=plan.weights,
                        sampling=dict(plan.sampling), text_encoder=plan.text_encoder)  # fmt: skip
        settings = replace(plan.settings, prefix=prefix(number))
        self._shard = Shard(create_app(models, plan.forms, settings, plan.host, plan.allowed))
        for name in models.names[: plan.kept]:  # nobody waits for weights to be read
            await asyncio.to_thread(models.pipeline, name)
        await self._shard.begin()

    async def answer(self, connection: str, scope: Message) -> AsyncIterator[list[Message]]:
        async for messages in self._shard.answer(connection, scope):
            yield messages

    async def put(self, connection: str, messages: list[Message]) -> None:
        await self._shard.put(connection, messages)

    async def drain(self) -> int:
        """Begin nothing any more; streams and requests that are open."""
        self._shard.drain()
        return self._shard.open

    async def end_streams(self) -> None:
        self._shard.end_streams()


class Handle:
    """A shard as the front has it: a handle of Ray Serve."""

    def __init__(self, handle: Any) -> None:
        self._stream, self._call = handle.options(stream=True), handle

    def answer(self, connection: str, scope: Message) -> AsyncIterator[list[Message]]:
        answers: AsyncIterator[list[Message]] = self._stream.answer.remote(connection, scope)
        return answers

    async def put(self, connection: str, messages: list[Message]) -> None:
        await self._call.put.remote(connection, messages)


def application(plan: Plan) -> Any:
    """The application for Ray Serve. `MldError` where a model cannot be opened or the extra is missing."""
    serve = require()
    names = [f"shard-{number}" for number in range(plan.shards)]
    gpus = plan.gpus if plan.gpus is not None else float(plan.device.startswith("cuda"))
    most = 8 * plan.settings.sessions + 256  # calls at once: one for each connection, and what clients say
    shard = serve.deployment(
        Replica, num_replicas=1, max_ongoing_requests=most, ray_actor_options={"num_cpus": plan.cpus, "num_gpus": gpus},
        graceful_shutdown_timeout_s=plan.settings.drain, logging_config=QUIET,
    )  # fmt: skip
    bound = [shard.options(name=name).bind(number, plan) for number, name in enumerate(names)]

    def front() -> Front:
        from ray import serve

        def handles() -> Sequence[Handle]:
            return [Handle(serve.get_deployment_handle(name, app_name=serve.get_replica_context().app_name))
                    for name in names]  # fmt: skip

        return Front(handles)

    ingress = serve.deployment(
        serve.ingress(front)(), name="front", num_replicas=1 + (plan.shards - 1) // SHARDS_PER_FRONT,
        max_ongoing_requests=most * plan.shards, ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=plan.settings.drain, logging_config=QUIET,
    )  # fmt: skip
    return ingress.bind(*bound)


def run(plan: Plan, port: int, ready: Callable[[], None]) -> None:
    """Serve until a signal comes: in the cluster of RAY_ADDRESS, or in a Ray of our own on this machine.

    Then nothing begins any more, what runs may finish for a while, and then streams are told."""
    serve, ending = require(), threading.Event()
    import ray

    own = not os.environ.get("RAY_ADDRESS")
    if own:
        cpus = max(os.cpu_count() or 1, plan.shards * plan.cpus)
        ray.init(num_cpus=int(cpus + 0.999), include_dashboard=False, log_to_driver=False, configure_logging=False)
    else:
        ray.init(log_to_driver=False)
    try:
        serve.start(http_options={"host": plan.host, "port": port})
        serve.run(application(plan), name=NAME, route_prefix="/")
        for kind in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own, which ends at once
            signal.signal(kind, lambda *_: ending.set())
        ready()
        while not ending.wait(0.5):
            pass
        _drain(serve, plan)
    except (RuntimeError, OSError) as error:
        raise MldError(f"Ray Serve did not start: {str(error).splitlines()[0][:200]}") from error
    finally:
        serve.delete(NAME) if not own else serve.shutdown()
        ray.shutdown()


def _drain(serve: Any, plan: Plan) -> None:
    shards = [serve.get_deployment_handle(f"shard-{number}", app_name=NAME) for number in range(plan.shards)]
    until = time.monotonic() + plan.settings.drain
    while sum(shard.drain.remote().result() for shard in shards) and time.monotonic() < until:
        time.sleep(0.2)
    for shard in shards:
        shard.end_streams.remote().result()
    time.sleep(0.3)  # for the last word to every client
