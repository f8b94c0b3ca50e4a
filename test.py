"""python -m test: see `python -m test --help`."""

import sys

from doors.common import run
from doors.test import main

if __name__ == "__main__":
    sys.exit(run(main))
