"""The optional nlg-metricverse backend: an environment of its own, talked to by a subprocess.

The package needs libraries too old to stand beside ours, so `python -m prepare.nlg` puts it into a separate
environment and `bridge.py` runs there: JSON in, JSON out. Without it the built-in scorers give the same numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mld.errors import DataError

PACKAGE = "nlg-metricverse==0.9.9"
# What the package works with; found by installation on Python 3.11 (evaluation spec 4.9).
PINS = (
    "datasets==2.9.0", "pyarrow==14.0.2", "numpy==1.26.4", "pandas==2.1.4", "scipy==1.11.4", "nltk==3.7",
    "rouge-score==0.1.2", "textstat==0.7.3", "setuptools<81", "evaluate==0.4.0", "transformers==4.47.1",
    "huggingface_hub<0.30", "codecarbon==2.1.4", "pyemd==1.0.0", "fsspec==2023.6.0", "dill==0.3.6", "click==8.1.3",
)  # fmt: skip
PYTHON = "3.11"
BRIDGE = Path(__file__).with_name("bridge.py")
TIMEOUT = 1800  # seconds


def environment() -> Path:
    """Where the environment is, or would be: `MLD_NLG_HOME` or the user's cache folder."""
    named = os.environ.get("MLD_NLG_HOME")
    return Path(named) if named else Path.home() / ".cache" / "mld" / "nlg-metricverse"


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find() -> Path | None:
    """The Python of the environment, None where it was not made."""
    python = interpreter(environment())
    return python if python.is_file() else None


def call(
    python: Path, predictions: Sequence[str], references: Sequence[Sequence[str]], timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Let the package score captions: {"version": ..., "scores": {name: value}, "errors": {name: sentence}}.

    Names are BLEU_1..4, ROUGE_L, METEOR and CIDEr, values between 0 and 1 (CIDEr: 10). `DataError` if the subprocess
    fails as a whole."""
    request = json.dumps({"predictions": list(predictions), "references": [list(several) for several in references]})
    try:
        done = subprocess.run(
            [str(python), str(BRIDGE)], input=request, capture_output=True, text=True, encoding="utf-8",
            timeout=timeout, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"nlg-metricverse did not run: {error}") from error
    if done.returncode:
        raise DataError(f"nlg-metricverse failed: {_last_line(done.stderr) or f'exit code {done.returncode}'}")
    try:
        answer = json.loads(_last_line(done.stdout))
        return {"version": str(answer["version"]), "scores": dict(answer["scores"]), "errors": dict(answer["errors"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("nlg-metricverse gave no answer that can be read") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
