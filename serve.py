"""python serve.py: see `python serve.py --help`."""

import sys

from commands.common import run
from commands.serve import main

if __name__ == "__main__":
    sys.exit(run(main))
