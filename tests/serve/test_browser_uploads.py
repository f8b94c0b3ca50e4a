"""Uploads on the page in a real browser: what becomes of them, and what is told while they are on their way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mld.serve.page import guard
from tests.serve.browsing import REPLIES, VIEWER, bring, choose, say, upload
from tests.view import chromium

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")
pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")

SEND = "document.querySelector('#send').click()"
TURNS = "document.querySelectorAll('#chat .turn').length"
WAITS = "document.querySelector('#wait p').textContent"
ON_ITS_WAY = "walk.bvh is on its way. What you ask is done when it is here."


class Line:
    """Uploads come through when it is free, or break off."""

    def __init__(self) -> None:
        self.free, self.broken = threading.Event(), False


@pytest.fixture
def line(monkeypatch) -> Iterator[Line]:
    line, answer = Line(), guard.Guard.__call__

    async def held(self, scope, receive, send):
        async def late():
            while scope["path"] == guard.UPLOAD and not line.free.is_set():
                await asyncio.sleep(0.05)
            return {"type": "http.disconnect"} if scope["path"] == guard.UPLOAD and line.broken else await receive()

        await answer(self, scope, late if scope["type"] == "http" else receive, send)

    monkeypatch.setattr(guard.Guard, "__call__", held)
    yield line
    line.free.set()


def test_an_upload_becomes_words_and_a_bad_one_a_sentence(opened, files: Path) -> None:
    page = opened(900, 640)
    choose(page, "m2t")
    upload(page, "first", files / "walk.bvh")
    page.run("document.querySelector('#send').click()")
    page.wait(f"{REPLIES} === 1")
    assert page.run("document.querySelector('.reply .text').textContent.length") > 0
    assert "walk.bvh · 3.0 s" in page.run("document.querySelector('.asked').textContent")
    page.wait(f"{VIEWER}?.drawn > 0")
    page.run("document.querySelector('#first [aria-label*=lear], #first [aria-label*=emove]').click()")
    page.wait("!!document.querySelector('#first input[type=file]')")
    upload(page, "first", files / "broken.npy")
    page.run("document.querySelector('#send').click()")
    page.wait("!!document.querySelector('.turn.failed')")
    said = page.run("document.querySelector('.turn.failed .reply').textContent")
    assert said.startswith("broken.npy: not a readable")
    assert "/" not in said.replace("numpy.save(path, joints)", "")


@pytest.mark.parametrize("press", ["click", "Enter"])
def test_what_is_sent_during_an_upload_is_told_and_answered_once(opened, line: Line, files: Path, press: str) -> None:
    page = opened(900, 640)
    choose(page, "m2t")
    bring(page, "first", files / "walk.bvh")
    page.run("document.querySelector('#text textarea').focus()")
    for _ in range(3):
        page.run(SEND) if press == "click" else page.key(press)
        assert page.run(WAITS) == ON_ITS_WAY
    assert page.run(TURNS) == 0
    line.free.set()
    page.wait(f"{REPLIES} === 1")
    assert "walk.bvh · 3.0 s" in page.run("document.querySelector('.asked').textContent")
    assert page.run(f"[{WAITS}, {TURNS}]") == ["", 1]


def test_other_tasks_wait_for_an_upload_in_words_too(opened, line: Line, files: Path) -> None:
    page = opened(900, 640)
    choose(page, "m2t")
    bring(page, "first", files / "walk.bvh")
    page.run("document.querySelector('#task input[value=t2m]').click()")
    say(page, "a person walks")
    assert page.run(WAITS) == ON_ITS_WAY
    line.free.set()
    page.wait(f"{REPLIES} === 1")
    assert page.run(WAITS) == ""
    page.wait("!document.querySelector('#first')?.offsetParent")


def test_an_upload_that_breaks_off_ends_the_wait_in_words(opened, line: Line, files: Path) -> None:
    page = opened(900, 640)
    choose(page, "m2t")
    bring(page, "first", files / "walk.bvh")
    page.run(SEND)
    assert page.run(WAITS) == ON_ITS_WAY
    line.broken = True
    line.free.set()
    page.wait("document.querySelector('.turn.failed')?.textContent.includes('has not arrived')")
    assert page.run(f"[{WAITS}, {TURNS}]") == ["", 1]
