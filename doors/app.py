"""The command `app`: the browser page on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from doors import models
from doors.common import EXIT_OK, parser, run

EPILOG = """\
examples:
  python app.py                          http://127.0.0.1:8888 with the bundled model
  python app.py --model runs/my/model --port 9000

Needs the extra 'ui': pip install 'mld[ui]'. The page is served to this machine only unless --host says otherwise."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    from mld.errors import MldError
    from mld.serve import ui

    if not 0 < options.port < 65536:
        raise MldError(f"--port {options.port} is not a port number (1 to 65535)")
    ui.require()
    from mld.engine.pipeline import Pipeline

    folder = models.folder_of(options)
    studio = ui.Studio(Pipeline.load(folder, device=models.device_of(options)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_OK))  # so that files are cleaned up then, too
    try:
        page = ui.launch(studio, options.host, options.port, description=f"Model: `{Path(folder).name}`.")
        print(f"open http://{options.host}:{options.port} in a browser; stop with Ctrl-C", flush=True)
        page.block_thread()
    finally:
        studio.close()
    return EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("app", "A page in the browser: text to motion, motion to text.", EPILOG)
    models.add_options(command)
    command.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8888, help="default: 8888")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
