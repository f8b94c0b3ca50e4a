"""python -m test: see `python -m test --help`."""

import sys

from commands.common import run
from commands.test import main

if __name__ == "__main__":
    sys.exit(run(main))
