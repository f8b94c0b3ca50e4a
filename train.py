"""`python -m train --cfg FILE`: see `commands/train.py`."""

import sys

from commands.common import run
from commands.train import main

if __name__ == "__main__":
    sys.exit(run(main))
