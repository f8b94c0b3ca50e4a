"""The command `serve`: models for other programs, over HTTP and WebSockets."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tasks
from commands import models
from commands.app import better_of, bundled_folders
from commands.common import EXIT_OK, parser, run

TOKEN = "MLD_TOKEN"
EPILOG = """\
addresses:
  POST /v1/generate    motions from text and motions: JSON, npz, bvh, glb ...
  POST /v1/describe    what a motion shows, in words
  GET  /v1/models      GET /v1/health      GET /v1/metrics (Prometheus)
  WS   /v1/stream      motion without an end, while words change
  /docs  all of it with examples           /live  a figure that moves while you type
  GET  /capabilities   POST /generate      MMCP, for add-ons of animation programs (extra: mmcp)

examples:
  mld serve                                   http://127.0.0.1:8700 with the bundled models
  mld serve --model runs/my/model --page      with the web page of `mld app` on the same address
  mld serve --host 0.0.0.0 --token-file FILE  for other machines, who have to know the token

Needs the extra 'server': pip install -e '.[server]' in a clone. docs/serving.md tells more."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    from mld.errors import MldError, RequestError
    from mld.serve.api.settings import Settings

    if not 0 <= options.port < 65536:
        raise MldError(f"--port {options.port} is not a port number (0 to 65535)")
    for name in ("timeout", "lead", "grace", "patience", "drain"):
        if not 0 < getattr(options, name) < 1e6:
            raise RequestError(f"--{name} {getattr(options, name):g}: a number of seconds above 0")
    whole = (("kept", 1, 64), ("shards", 0, 4096), ("sessions", 1, 4096), ("waiting", 0, 10_000),
             ("rate", 0, 1_000_000))  # fmt: skip
    for name, least, most in whole:
        if not least <= getattr(options, name) <= most:
            raise RequestError(f"--{name} {getattr(options, name)}: a whole number from {least} to {most:,}")
    settings = Settings(
        token=_token(options), waiting=options.waiting, timeout=options.timeout, rate=options.rate,
        sessions=options.sessions, lead_seconds=options.lead, grace=options.grace, patience=options.patience,
        drain=options.drain,
    )  # fmt: skip
    if options.page and settings.token:
        raise RequestError("--page: the page asks for no token, so it would be of no use; leave out one of them")
    if options.page and options.shards:
        raise RequestError("--page: the page is served by one process; leave out --shards")
    print("serve: starting", file=sys.stderr, flush=True)  # at once: what comes now takes seconds to import
    return _serve_shards(options, settings) if options.shards else _serve(options, settings)


def _serve(options, settings) -> int:
    from mld.serve.api.app import create_app
    from mld.serve.api.server import bound, serve
    from mld.serve.models import Models

    offered = Models(folders_of(options), models.device_of(options), better=better_of(options), kept=options.kept,
                     weights=options.weights, sampling=models.sampling(options),
                     text_encoder=options.text_encoder)  # fmt: skip
    for name in offered.names:
        offered.check(name)
    forms = tasks.forms()
    app = create_app(offered, forms, settings, options.host, options.allow_host)
    listening = bound(options.host, options.port)
    for opened in offered.names[: options.kept]:  # nobody waits for weights to be read
        offered.pipeline(opened)
    studio = _add_page(app, offered, forms, options) if options.page else None
    port = listening.getsockname()[1]
    try:
        serve(app, listening, settings, lambda: _say(offered.names, options.host, port))
    finally:
        if studio is not None:
            studio.close()
    return EXIT_OK


def _serve_shards(options, settings) -> int:
    """The same in several processes, on this machine or in a cluster of Ray."""
    from mld.serve import ray_serve
    from mld.serve.api.server import bound
    from mld.serve.models import Models

    ray_serve.require()
    folders, device, better = folders_of(options), models.device_of(options), better_of(options)
    offered = Models(folders, device, better=better, kept=options.kept)
    for name in offered.names:
        offered.check(name)
    with bound(options.host, options.port) as free:
        port = free.getsockname()[1]
    plan = ray_serve.Plan(
        tuple(folders), tasks.forms(), options.shards, device, options.kept, options.host, tuple(options.allow_host),
        tuple(better.items()), settings=settings, weights=options.weights,
        sampling=tuple(models.sampling(options).items()), text_encoder=options.text_encoder,
    )  # fmt: skip
    ray_serve.run(plan, port, lambda: _say(offered.names, options.host, port))
    return EXIT_OK


def _say(names, host: str, port: int) -> None:
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"serving {', '.join(names)} on {address} ({address}/docs says how to ask); stop with Ctrl-C", flush=True)


def _add_page(app, offered, forms, options):
    """The page of `mld app`, at the root; the studio that answers it."""
    from mld import packaged
    from mld.serve.page import server
    from mld.serve.studio import Studio

    clips = packaged.demos() / "motions"
    studio = Studio(offered, forms, options.clean)
    server.mount(app, studio, options.host, clips if clips.is_dir() else None, options.allow_host)
    return studio


def _token(options) -> str:
    """The token of the file or the environment; "" for none. `RequestError` for one that anybody guesses."""
    from mld.errors import RequestError

    if options.token_file:
        token = Path(options.token_file).read_text(encoding="utf-8").strip()
        if not token:
            raise RequestError(f"--token-file {options.token_file}: it is empty")
    else:
        token = os.environ.get(TOKEN, "").strip()
    if token and (len(token) < 16 or not token.isascii() or any(letter in token for letter in " ,")):
        raise RequestError("the token needs 16 or more letters and digits: python -c 'import secrets; "
                           "print(secrets.token_urlsafe())' makes one")  # fmt: skip
    return token


def folders_of(options) -> list[str]:
    """The models that the options name, and the bundled ones where none is."""
    if options.model:
        return list(options.model)
    options.model = None
    return [models.folder_of(options), *([] if options.cfg else bundled_folders())]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = parser("serve", "Motion for other programs: HTTP, and streams over WebSockets.", EPILOG)
    which = command.add_mutually_exclusive_group()
    what = "model folders, bundled names or hub ids (default: the bundled models)"
    which.add_argument("--model", metavar="DIR", nargs="+", help=what)
    which.add_argument("--cfg", metavar="FILE", help="training config, file or packaged name; its last run's model")
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    models.add_speed_options(command)
    command.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8700, help="default: 8700; 0 takes any that is free")
    command.add_argument("--allow-host", metavar="NAME", nargs="+", action="extend", default=[],
                         help="names under which it may be asked, besides its address: behind a proxy ...")
    what = f"a file with the token that clients have to know (default: ${TOKEN}, or none)"
    command.add_argument("--token-file", metavar="FILE", help=what)
    command.add_argument("--page", action="store_true", help="the web page as well, at the root (extra: ui)")
    command.add_argument("--clean", action=argparse.BooleanOptionalAction, default=True,
                         help="of the page: clean motions up, and say what that changed (default: yes); other answers "
                              "are as the model makes them")  # fmt: skip
    numbers = (
        ("--sessions", int, 64, "streams at once, of each shard"), ("--waiting", int, 8, "requests that may wait"),
        ("--rate", int, 240, "requests of one address in a minute, 0 for any number"),
        ("--kept", int, 2, "models in memory at once"),
        ("--shards", int, 0, "processes that share the streams, by Ray Serve (extra: ray), 0 for this one alone"),
        ("--timeout", float, 120.0, "seconds of a request"),
        ("--lead", float, 1.0, "seconds that a stream is ahead of its client"),
        ("--grace", float, 30.0, "seconds that a stream waits for a client whose connection was lost"),
        ("--patience", float, 30.0, "seconds after which a client that takes nothing is let go"),
        ("--drain", float, 10.0, "seconds that what runs may take when the server ends"),
    )
    for name, kind, default, what in numbers:
        command.add_argument(name, type=kind, default=default, metavar="N", help=f"{what} (default: {default:g})")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
