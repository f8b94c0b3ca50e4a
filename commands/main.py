"""The console command `mld`: `mld train|test|demo|app|serve ...`, and `mld prepare TOOL ...` for the tools of
`prepare`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Sequence

import tasks
from commands.common import EXIT_OK, EXIT_USAGE, run
from mld.errors import SHOWN, shown
from mld.version import __version__

COMMANDS = {
    "train": "train a tokenizer or a model",
    "test": "evaluate a model on a dataset",
    "demo": "motions from text, captions from motions, continuations and in-betweens",
    "app": "the same in a browser page",
    "serve": "the same for other programs: HTTP, and streams over WebSockets",
    "mcp": "the same as tools for assistants that speak MCP",
    "models": "the models that come with the package: size, tasks, licence, measured quality",
    "completion": "a script that completes all of this in a shell: mld completion bash",
    "prepare": "data checks, statistics, conversion of published weights: mld prepare TOOL",
}

MODULES = {"models": "model_list"}  # of commands that are in a file of another name


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the package; ends the process with the exit code of the command."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    sys.exit(_dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    if command in ("-h", "--help"):
        print(_usage())
        return EXIT_OK
    if command in ("-V", "--version"):
        print(f"mld {__version__}")
        return EXIT_OK
    if command == "prepare":
        return _prepare(arguments[1:])
    if command not in COMMANDS:
        print(f"error: {_unknown(command)}\n{_usage()}" if command else _usage(), file=sys.stderr)
        return EXIT_USAGE
    return run(importlib.import_module(module_of(command)).main, arguments[1:])


def module_of(command: str) -> str:
    """Where the main function of a command is."""
    return f"commands.{MODULES.get(command, command)}"


def _unknown(command: str) -> str:
    """What is said of a word that is no command: it may be a task, a tool or an option that came too early."""
    if command.startswith("-"):
        return f"{shown(command)} stands before the command; mld COMMAND {command[:SHOWN]} ..."
    said = f"{shown(command)} is not a command"
    if command in tasks.NAMES:
        return f"{said} but a task: mld demo --task {command}"
    if command in tools():
        return f"{said} but a tool: mld prepare {command}"
    near = difflib.get_close_matches(command[:SHOWN], COMMANDS, n=1)
    return f"{said}; did you mean '{near[0]}'?" if near else said


def _prepare(arguments: list[str]) -> int:
    """Run `prepare.<tool>` with the rest of the arguments."""
    tool = arguments[0] if arguments else ""
    if tool in ("-h", "--help"):
        print(f"usage: mld prepare TOOL ...\ntools: {', '.join(tools())}")
        return EXIT_OK
    if tool not in tools():
        print(f"error: 'prepare' needs a tool: {', '.join(tools())}", file=sys.stderr)
        return EXIT_USAGE
    return run(importlib.import_module(f"prepare.{tool}").main, arguments[1:])


def tools() -> list[str]:
    """The tools of `prepare`. Files there whose names begin with `_` are none."""
    modules = pkgutil.iter_modules(importlib.import_module("prepare").__path__)
    return [module.name for module in modules if not module.name.startswith("_")]


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: mld COMMAND ...", *lines, "mld COMMAND --help tells more; mld --version"])


if __name__ == "__main__":
    main()
