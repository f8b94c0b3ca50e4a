"""`python -m prepare.nlg`: an environment of its own for nlg-metricverse, the optional backend of caption scores.

The package needs old libraries and Python 3.11, so it cannot live beside the toolkit; `test` finds the environment by
itself and says which backend ran. Needs the network and about 6 GB. Without it the built-in scorers are used.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, parser, run
from mld.errors import DataError, MldError


def main(arguments: Sequence[str]) -> int:
    """0 when the environment is there and scores a caption."""
    from mld.metrics.captions import metricverse

    args = _parser().parse_args(arguments)
    folder = Path(args.folder) if args.folder else metricverse.environment()
    python = metricverse.interpreter(folder)
    if args.again or not python.is_file():
        create(folder, args.python)
    try:
        answer = metricverse.call(python, ["a person walks forward"] * 2, [["a man walks forward"] * 3] * 2)
    except DataError as error:
        raise DataError(f"{error}; make the environment anew: python -m prepare.nlg --again") from error
    print(f"nlg-metricverse {answer['version']} in {folder}: {', '.join(answer['scores']) or 'no metric'} work")
    for name, reason in answer["errors"].items():
        print(f"{name} does not: {reason}")
    if folder != metricverse.environment():
        print(f"for the test command to find it: export MLD_NLG_HOME={folder}")
    return EXIT_OK


def create(folder: Path, python: str | None = None) -> None:
    """Make the environment and install the pinned packages. `MldError` names the step that failed; nothing is left."""
    from mld.metrics.captions import metricverse

    base = python or _base_python(metricverse.PYTHON)
    packages = [metricverse.PACKAGE, *metricverse.PINS]
    try:
        _step("make an environment", [base, "-m", "venv", "--clear", str(folder)])
        pip = [str(metricverse.interpreter(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _step("install nlg-metricverse", [*pip, *packages])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _base_python(version: str) -> str:
    if ".".join(map(str, sys.version_info[:2])) == version:
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise MldError(
            f"nlg-metricverse needs Python {version}, and there is no 'python{version}'; name one by --python"
        )
    return found


def _step(what: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MldError(f"could not {what}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message")
        raise MldError(f"could not {what}: {reason.removeprefix('ERROR: ')}; the built-in scorers need nothing of this")


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.nlg", __doc__)
    made.add_argument("--folder", help="where to put the environment (default: MLD_NLG_HOME or ~/.cache/mld)")
    made.add_argument("--python", help="a Python 3.11 to build on (default: python3.11)")
    made.add_argument("--again", action="store_true", help="throw the environment away and make it anew")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
