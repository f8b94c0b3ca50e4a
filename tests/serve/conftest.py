"""A studio with a tiny untrained model, and motion files to upload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tasks
from mld.checkpoint import save_model
from mld.models.text_encoders.opening import open_text_encoder
from mld.motion.motion import Motion
from mld.serve.conversation import Conversation, Turn
from mld.serve.models import Models
from mld.serve.studio import Studio
from tests.commands.conftest import tiny_model
from tests.models.text_encoding import write_sentence_t5
from tests.models.tiny_streamer import tiny_streamer
from tests.serve.visitors import served
from tests.view import chromium
from tests.walking import walker


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return save_model(tiny_model(), tmp_path_factory.mktemp("models") / "tiny", {})


@pytest.fixture(scope="session")
def streamer_folder(tmp_path_factory) -> Path:
    """A tiny MotionStreamer whose words are read by a tiny sentence-T5."""
    folder = tmp_path_factory.mktemp("streamer")
    (folder / "text").mkdir()
    text = open_text_encoder(write_sentence_t5(folder / "text"))
    return save_model(tiny_streamer(text=text), folder / "streamer", {})


@pytest.fixture(scope="module")
def studio(model_folder: Path) -> Iterator[Studio]:
    made = Studio(Models([str(model_folder)]), tasks.forms())
    yield made
    made.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """Motion files, good and bad."""
    folder = tmp_path_factory.mktemp("uploads")
    Motion(walker(60), 20.0).save(folder / "walk.bvh")
    np.save(folder / "curve.npy", walker(40, turning=0.02).numpy())
    np.save(folder / "long.npy", walker(600, turning=0.01).numpy())
    np.save(folder / "endless.npy", walker(2500).numpy())
    (folder / "broken.npy").write_bytes(b"not an array")
    (folder / "broken.bvh").write_text("HIERARCHY\nROOT hip\n{\n OFFSET 0 0\n")
    (folder / "words.txt").write_text("a person walks")
    (folder / "big.bvh").write_bytes(b"\0" * 20_000_001)
    return folder


@pytest.fixture
def ask(studio: Studio):
    """Ask and wait for the answer: `ask(session, task, text, *file names, seconds=, seed=, samples=)`."""

    def asked(session: Conversation, task: str, text: str = "", *paths: Path, seconds=0, seed=0, samples=1) -> Turn:
        uploads = [[str(path)] for path in paths]
        turn = studio.accept(session, task, text, uploads, seconds, seed, samples, studio.models.names[0])
        assert all(seen is turn for seen in studio.answer(session))
        return turn

    return asked


@pytest.fixture(scope="module")
def address(studio: Studio) -> Iterator[str]:
    with served(studio) as address:
        yield f"{address}/"


@pytest.fixture
def opened(browser, address: str):
    """Open the page: `opened(width, height)`. In the end it must have asked no other host, and met no exception."""
    pages = []

    def open_page(width=1000, height=640, dark=False) -> chromium.Page:
        page = browser.page(width, height, dark)
        pages.append(page)
        page.call("Page.navigate", url=address)
        page.wait("['#text textarea', '#send', '#ideas button', '.stage'].every(one => document.querySelector(one))")
        return page

    yield open_page
    for page in pages:
        urls = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
        assert urls and all(url.startswith((address, "data:", "blob:")) for url in urls), urls
        assert not page.events("Runtime.exceptionThrown")
        page.close()
