"""What all commands share: quick help, one-line errors, exit codes, the console command `mld`."""

from __future__ import annotations

import importlib
import resource
import subprocess
import time

import pytest

from commands.common import EXIT_INTERRUPTED, run
from commands.completion import script
from commands.main import main
from mld.errors import ConfigError
from mld.version import __version__
from tests.commands.conftest import command

COMMANDS = {
    "train": ("train.py",), "test": ("-m", "test"), "demo": ("demo.py",), "app": ("app.py",),
    "prepare": ("-m", "prepare.data"), "demo_motions": ("-m", "prepare.demo_motions"), "mld": ("-m", "commands.main"),
    "tokens": ("-m", "prepare.tokens"), "text": ("-m", "prepare.text"),
    "leaderboard": ("-m", "prepare.leaderboard"), "gate": ("-m", "prepare.gate"),
    "mcp": ("-m", "commands.mcp"), "models": ("-m", "mld", "models"), "mld demo": ("-m", "mld", "demo"),
}  # fmt: skip


def _seconds(*arguments: str) -> tuple[float, str]:
    """How long a command takes where nothing else runs, and what it says: the processor time is measured, not the
    waiting for other programs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = command(*arguments)
    waited, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return min(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, waited), done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick(name: str) -> None:
    seconds, said = _seconds(*COMMANDS[name], "--help")
    assert "usage:" in said and seconds < 1.0


def test_the_list_of_commands_is_there_at_once() -> None:
    """A fifth of a second, the start of Python included; the quickest of three."""
    assert min(_seconds("-m", "mld", "--help")[0] for _ in range(3)) < 0.2


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"mld {__version__}\n"


@pytest.mark.parametrize(("line", "wanted"), [
    ("mld d", "demo"), ("mld prepare cl", "clean"), ("mld prepare clean --lo", "--lock-feet"),
    ("mld demo --num", "--num-samples"),
])  # fmt: skip
def test_the_shell_completes(line: str, wanted: str) -> None:
    words = line.split()
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _mld; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script('bash')}\n{ask}"], capture_output=True, text=True, timeout=60)
    assert wanted in done.stdout.split(), done.stderr


@pytest.mark.parametrize("arguments", [(), ("dance",), ("prepare",), ("prepare", "nothing")])
def test_mld_says_what_it_can_do(arguments: tuple[str, ...], capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "demo" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [
    (("stream",), "mld demo --task stream"), (("view", "a.npy"), "mld prepare view"), (("sevre",), "mean 'serve'?"),
    (("--model", "x", "demo"), "mld COMMAND --model"), (("dan\nce",), r"'dan\nce' is not a command"),
])  # fmt: skip
def test_a_word_that_is_no_command_is_answered_by_the_one_that_was_meant(arguments, told, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    first = capsys.readouterr().err.splitlines()[0]
    assert left.value.code == 2 and first.startswith("error: ") and told in first


def test_every_tool_of_mld_prepare_can_be_run(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    tools = capsys.readouterr().out.split("tools: ")[1].strip().split(", ")
    assert {"clean", "convert", "data", "view"} <= set(tools)
    assert all(callable(importlib.import_module(f"prepare.{tool}").main) for tool in tools)


def test_mld_prepare_runs_a_tool(tmp_path) -> None:
    done = command("-m", "commands.main", "prepare", "demo_motions", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "walk.npy").is_file()


def test_a_users_mistake_is_one_line(capsys) -> None:
    def mistaken(_):
        raise ConfigError("no such key")

    assert run(mistaken, []) == 2
    assert capsys.readouterr().err == "error: no such key\n"
    assert run(mistaken, ["--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("here already", encoding="utf-8")

    def writing(_):
        (tmp_path / "file" / "below").mkdir(parents=True)

    def full(_):
        raise OSError(28, "No space left on device")

    assert run(writing, []) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'below'}: Not a directory\n"
    assert run(full, []) == 2
    assert capsys.readouterr().err == "error: No space left on device\n"
    with pytest.raises(OSError, match="below"):
        run(writing, ["--traceback"])


def test_exit_codes(capsys) -> None:
    def interrupted(_):
        raise KeyboardInterrupt

    assert run(lambda _: None, []) == 0
    assert run(lambda _: 1, []) == 1
    assert run(interrupted, []) == EXIT_INTERRUPTED
