"""The console command `mld` and `python -m mld`.

The package's own folder goes to the front of the module search path first: a `tasks.py`, `commands.py` or `prepare.py`
in the working directory or on PYTHONPATH would otherwise be imported instead of ours. Spawned processes inherit the
path. A path that is already there is moved, so that nothing is searched twice.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command line; ends the process with the exit code of the command."""
    home = str(Path(__file__).resolve().parents[1])
    sys.path[:] = [home, *(path for path in sys.path if path != home)]
    from commands.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
