"""python demo.py: see `python demo.py --help`."""

import sys

from commands.common import run
from commands.demo import main

if __name__ == "__main__":
    sys.exit(run(main))
