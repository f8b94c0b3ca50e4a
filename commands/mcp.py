"""The command `mcp`: models as tools for assistants that speak MCP, over standard input and output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tasks
from commands import models
from commands.app import better_of
from commands.common import EXIT_OK, parser, run
from commands.serve import folders_of

EPILOG = """\
tools: generate_motion, describe_motion, list_models

An assistant starts it; its settings want a command with arguments:
  {"mcpServers": {"mld": {"command": "mld", "args": ["mcp", "--out", "motions"]}}}

Needs the extra 'mcp': pip install -e '.[mcp]' in a clone. docs/serving.md tells more."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    from mld.serve.api.service import Service
    from mld.serve.mcp_tools import create
    from mld.serve.models import Models

    offered = Models(folders_of(options), models.device_of(options), better=better_of(options), kept=2)
    for name in offered.names:
        offered.check(name)
    if sys.stdin.isatty():  # a person's try; standard output belongs to the protocol
        print("mcp: waiting for an assistant on standard input; Ctrl-D ends it", file=sys.stderr, flush=True)
    create(Service(offered, tasks.forms()), Path(options.out)).run()
    return EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("mcp", "Motion as tools for assistants that speak MCP, over standard input and output.", EPILOG)
    which = command.add_mutually_exclusive_group()
    what = "model folders, bundled names or hub ids (default: the bundled models)"
    which.add_argument("--model", metavar="DIR", nargs="+", help=what)
    which.add_argument("--cfg", metavar="FILE", help="training config, file or packaged name; its last run's model")
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    command.add_argument("--out", default="out/mcp", metavar="DIR", help="where motions are written (default: out/mcp)")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
