"""python app.py: see `python app.py --help`."""

import sys

from doors.app import main
from doors.common import run

if __name__ == "__main__":
    sys.exit(run(main))
