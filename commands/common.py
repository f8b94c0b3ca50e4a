"""What all commands share: run a main function and turn its outcome into an exit code and a short message.

Exit codes: 0 fine, 1 some items failed, 2 wrong usage or input, 130 stopped by the user. A user's mistake (`MldError`)
is one or two lines on stderr, and so is a file that the system does not let us read or write; `--traceback` shows where
it came from. Commands import the heavy parts inside `main`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from mld.errors import MldError, RequestError, one_line

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def parser(prog: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """An argument parser with the options that all commands share (`--traceback`)."""
    made = argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    return made


def run(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str] | None = None) -> int:
    """Call `main(arguments)` (default: the command line's) and return the exit code of the process.

    Use as `sys.exit(run(main))`. `main` returns its exit code, None meaning 0.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        for word in arguments:
            if "\0" in word:
                raise RequestError(f"{word!r} holds a zero byte, which no name and no text may; leave it out")
        return main(arguments) or EXIT_OK
    except MldError as error:
        if "--traceback" in arguments:
            traceback.print_exc()
        else:
            if error.details:
                print(error.details, file=sys.stderr)
            print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        if "--traceback" in arguments:
            raise
        # A disk that is full, a folder that cannot be written: the system says which file and why.
        where = "" if error.filename is None else f"{error.filename}: "
        reason = error.strerror or " ".join(str(error).split())[:200] or type(error).__name__
        print(f"error: {one_line(where + reason)}", file=sys.stderr)
        return EXIT_USAGE
