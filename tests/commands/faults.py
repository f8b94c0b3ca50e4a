"""Commands whose output finds no room: `python -m tests.commands.faults FILE` prints the outcomes of a list of cases.

Everything is imported once and each command runs in a fork. A case has `module`, `arguments`, `fault` and `below`, the
folder whose files are meant. Faults: "": none. "full": no file can be opened for writing. "read-only": nor any folder
be made. "short": no file can be longer than 300 bytes.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import resource
import signal
import sys
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def inject(fault: str, below: str) -> None:
    """Let what this process writes below a folder fail from now on."""
    if fault == "short":
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        return
    number = {"full": errno.ENOSPC, "read-only": errno.EROFS}[fault]

    def hook(event: str, args: tuple) -> None:
        opened = event == "open" and not isinstance(args[0], int) and (args[2] or 0) & WRITING
        if opened or (event == "os.mkdir" and fault == "read-only"):
            name = os.path.abspath(os.fsdecode(args[0]))
            if name.startswith(below):
                raise OSError(number, os.strerror(number), name)

    sys.addaudithook(hook)


def outcome(case: dict) -> dict:
    """Exit code and what was said, of one command in a process of its own."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid:
        os.close(send)
        with os.fdopen(receive) as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return json.loads(told) if told else {"code": code, "out": "", "err": "ended without a word"}
    try:
        from commands.common import run

        main = importlib.import_module(case["module"]).main
        out, err = io.StringIO(), io.StringIO()
        if case["fault"]:
            inject(case["fault"], case["below"])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = run(main, case["arguments"])
            except BaseException as error:  # what nobody caught
                code = f"{type(error).__name__}: {error}"
        os.write(send, json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}).encode())
    finally:
        os._exit(0)


if __name__ == "__main__":
    import torch

    import mld.engine.pipeline
    import mld.evaluation.run
    import mld.view  # noqa: F401

    torch.set_num_threads(1)
    print(json.dumps([outcome(case) for case in json.loads(Path(sys.argv[1]).read_text())]))
