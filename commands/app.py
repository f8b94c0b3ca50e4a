"""The command `app`: the browser page on this machine."""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
from collections.abc import Sequence

import tasks
from commands import models
from commands.common import EXIT_OK, parser, run
from mld import packaged

EPILOG = """\
examples:
  python app.py                          http://127.0.0.1:8888 with the bundled model
  python app.py --model runs/my/model --port 9000
  python app.py --speech whisper-base    requests may be spoken; a folder with a Whisper model

Needs the extra 'ui': pip install -e '.[ui]' in a clone, pip install 'mld_toolkit-VERSION-py3-none-any.whl[ui]' with a
wheel. The page is served to this machine only unless --host says otherwise; then
visitors choose among the models of the list, and cannot name folders of this machine."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    from mld.errors import MldError
    from mld.serve.page import server

    if not 0 < options.port < 65536:
        raise MldError(f"--port {options.port} is not a port number (1 to 65535)")
    from mld.serve.models import Models
    from mld.serve.page.speech import Listener
    from mld.serve.studio import Studio

    listener = Listener(options.speech) if options.speech else None
    offered = Models(_folders(options), models.device_of(options), free=_is_this_machine(options.host),
                     better=better_of(options), weights=options.weights,
                     sampling=models.sampling(options), text_encoder=options.text_encoder)  # fmt: skip
    offered.check(offered.names[0])
    studio = Studio(offered, tasks.forms(), options.clean)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_OK))  # so that files are cleaned up then, too
    clips = packaged.demos() / "motions"
    try:
        shown = clips if clips.is_dir() else None
        page = server.launch(studio, options.host, options.port, shown, listener, options.allow_host)
        print(f"open http://{options.host}:{options.port} in a browser; stop with Ctrl-C", flush=True)
        page.block_thread()
    finally:
        studio.close()
    return EXIT_OK


def _folders(options) -> list[str]:
    """The model that the options name, then the bundled ones."""
    return [models.folder_of(options), *bundled_folders()]


def bundled_folders() -> list[str]:
    """The generators that come with the package."""
    from mld.checkpoint import CONFIG, read_config

    folders = [file.parent for file in sorted(packaged.ASSETS.glob(f"*/{CONFIG}"))]
    return [str(folder) for folder in folders if read_config(folder)["kind"] == "generator"]


def better_of(options) -> dict[str, str]:
    """The bundled model for each task; none where the user named a model, which then answers everything."""
    return {} if options.model or options.cfg else {name: models.bundled(name) for name in tasks.forms()}


def _is_this_machine(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(arguments: Sequence[str]):
    command = parser("app", "A page in the browser: text to motion, motion to text, and between motions.", EPILOG)
    models.add_options(command)
    command.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8888, help="default: 8888")
    command.add_argument("--allow-host", metavar="NAME", nargs="+", action="extend", default=[],
                         help="names under which the page may be asked, besides its address: behind a proxy, or in a "
                              "network (default: those of this machine)")  # fmt: skip
    command.add_argument("--clean", action=argparse.BooleanOptionalAction, default=True,
                         help="clean motions up, and say what that changed (default: yes)")
    command.add_argument("--speech", metavar="DIR", help="Whisper model folder, to speak requests (default: none)")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
