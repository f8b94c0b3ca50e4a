"""python demo.py: see `python demo.py --help`."""

import sys

from doors.common import run
from doors.demo import main

if __name__ == "__main__":
    sys.exit(run(main))
