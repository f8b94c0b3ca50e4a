"""python app.py: see `python app.py --help`."""

import sys

from commands.app import main
from commands.common import run

if __name__ == "__main__":
    sys.exit(run(main))
