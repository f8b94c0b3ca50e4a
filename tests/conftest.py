"""One thread for all tests and the commands they start: sums then come out the same in every process."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium; tests that use it skip where there is none."""
    from tests.view import chromium

    started = chromium.Chromium(chromium.find(), tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
