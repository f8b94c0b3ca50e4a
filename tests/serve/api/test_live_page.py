"""The page `/live` in a real browser: a figure moves while words are typed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.serve.api.conftest import SIT, WALK, running
from tests.view import chromium

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")
# A hair before a frame: what sums of times come to.
HAIR = "(one => (one.at = (one.first + 1) / one.fps - 1e-6, one.tick(0), Number.isFinite(one.pose[0])))(mldLive.figure)"
TYPE = "document.getElementById('words').value = {0!r}; document.getElementById('say').click()"
LAG = """(() => {  // metres by which the camera is behind, 0.6 s after a metre's jump, drawn %d times
    const figure = mldLive.figure, pose = figure.poses[0];
    [figure.poses, figure.at, figure.now] = [[pose, pose], figure.first / figure.fps, [pose[0] + 1, pose[2]]];
    for (let i = 0; i < %d; i += 1) figure.tick(0.6 / %d);
    return figure.now[0] - pose[0];
})()"""


@pytest.mark.parametrize("size", [(1000, 640), (390, 780)])
def test_a_figure_moves_while_words_are_typed(browser, streamer_folder: Path, size: tuple[int, int]) -> None:
    with running("--model", streamer_folder) as (address, process):
        page = browser.page(*size)
        page.call("Page.navigate", url=f"{address}/live")
        page.wait("!!window.mldLive")
        page.run(TYPE.format(WALK))
        page.wait("!!mldLive.figure && mldLive.figure.frame > 20", seconds=60)
        assert page.run(HAIR)
        first = page.run("[...mldLive.figure.pose]")
        page.run(TYPE.format(SIT))
        page.wait("mldLive.marks.length === 2 && mldLive.shown.length === 2", seconds=60)
        said = page.run("[...document.querySelectorAll('#said li')].map(one => one.lastChild.textContent)")
        assert said == [WALK, SIT]
        assert page.run("[...mldLive.figure.pose]") != first
        page.run("mldLive.stream.socket.close()")
        at = page.run("mldLive.figure.frame")
        page.wait(f"mldLive.figure.frame > {at + 45}", seconds=60)
        assert page.run("document.getElementById('problem').innerText") == ""
        page.run("document.getElementById('pause').click()")
        time.sleep(0.3)
        held = page.run("mldLive.figure.frame")
        time.sleep(0.5)
        assert page.run("mldLive.figure.frame") == held
        assert page.run(LAG % (1, 1, 1)) == pytest.approx(page.run(LAG % (12, 12, 12)), abs=1e-5)
        page.run("document.getElementById('stop').click()")
        page.wait("!mldLive.running")
        assert page.run("document.documentElement.scrollWidth") <= size[0]
        urls = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
        assert urls and all(url.startswith((address, "data:", "blob:")) for url in urls), urls
        assert not page.events("Runtime.exceptionThrown")
        page.call("Page.navigate", url=f"{address}/docs")
        page.wait("document.querySelectorAll('section').length > 5")
        assert not page.events("Runtime.exceptionThrown")
        page.close()
        assert process.poll() is None
