"""`python -m train --cfg FILE`: see `doors/train.py`."""

import sys

from doors.common import run
from doors.train import main

if __name__ == "__main__":
    sys.exit(run(main))
