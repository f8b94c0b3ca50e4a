"""`python -m tests.wild.fuzz --cases 2000 [KIND ...]`: counts, worst time and memory, and each finding once."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from tests.wild.fuzz.harness import explore
from tests.wild.fuzz.kinds import KINDS


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    command.add_argument("--cases", type=int, default=1000, help="of each kind")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--only", type=int, help="the number of one case")
    options = command.parse_args()
    torch.set_num_threads(1)
    for name in options.kinds or KINDS:
        with tempfile.TemporaryDirectory() as work:
            report = explore(name, KINDS[name](Path(work)), Path(work), options.cases, options.seed, options.only)
        print(report, flush=True)
        for what, (number, count, how) in report.findings.items():
            print(f"  --- {what}: case {number}, {count} times\n{how}", flush=True)


if __name__ == "__main__":
    main()
