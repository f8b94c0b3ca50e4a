"""The viewer in a real browser: it starts, moves, obeys keys, saves what it shows and loads nothing."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

from mld.motion.motion import Motion
from mld.view.browser import ViewItem, save_viewer, viewer_iframe
from tests.view import chromium
from tests.view.test_pictures import gliding
from tests.walking import walker

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")
STARTED = "window.mldViewer?.drawn > 0 || document.querySelector('#problem:not([hidden])')?.textContent"
BVH = b"HIERARCHY and so on"
TOKENS = [(start, start + 4, str(start)) for start in range(0, 60, 4)]
ITEMS = [
    ViewItem(Motion(walker(60), 20.0), "a person walks", TOKENS, downloads={"a-person-walks.bvh": BVH}),
    ViewItem(Motion(walker(40, turning=0.05), 20.0), "a person turns", label="seed 1"),
]


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page of motions: `opened(items, width, height, ...)`."""
    pages = []

    def open_page(items=ITEMS, width=480, height=400, dark=False, calm=True, **options) -> chromium.Page:
        page = browser.page(width, height, dark, calm)
        pages.append(page)
        page.open(save_viewer(items, tmp_path / "page.html", "Walking", **options))
        assert page.wait(STARTED) is True
        return page

    yield open_page
    for page in pages:
        assert not page.events("Runtime.exceptionThrown")
        page.close()


def test_it_plays_and_loads_nothing(opened):
    page = opened(ITEMS[:1], calm=False)
    assert page.run("[mldViewer.figureCount, mldViewer.playing, mldViewer.duration]") == [1, True, 3]
    page.wait("mldViewer.frame > 3")
    page.run("mldViewer.pause(), mldViewer.seekFrame(5), mldViewer.picture(), 0")
    first = page.pixels()
    assert page.run("mldViewer.frame") == 5
    page.run("mldViewer.seekFrame(14), mldViewer.picture(), 0")
    second = page.pixels()
    changed = np.abs(first.astype(int) - second).max(axis=-1) > 24
    assert changed[60:280].sum() > 500  # the figure
    addresses = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
    assert addresses
    assert all(address.startswith(("file:", "blob:", "data:")) for address in addresses)


def test_the_figure_stands_in_the_middle_in_its_colours(opened):
    page = opened(ITEMS[:1])
    page.run("mldViewer.pause(), mldViewer.set('contacts', false), mldViewer.picture(), 0")
    picture = page.pixels()[60:300].astype(int)
    red, blue = picture[..., 0] - picture[..., 2] > 70, picture[..., 2] - picture[..., 0] > 70
    for limb in (red, blue):
        _, columns = np.nonzero(limb)
        assert len(columns) > 100
        assert abs(columns.mean() - 240) < 60


FIRST = """
addEventListener('DOMContentLoaded', () => {
  window.atFirst = [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor];
});
window.cleared = [];
const clear = WebGL2RenderingContext.prototype.clear;
WebGL2RenderingContext.prototype.clear = function (mask) {
  if (!this.getParameter(this.FRAMEBUFFER_BINDING)) cleared.push(this.getParameter(this.COLOR_CLEAR_VALUE)[3]);
  clear.call(this, mask);
};
"""  # notes how the page looks before it starts, and over what each picture is drawn


@pytest.mark.parametrize(("theme", "dark", "paper"), [
    ("auto", True, "rgb(20, 23, 29)"), ("auto", False, "rgb(243, 242, 238)"), ("dark", False, "rgb(20, 23, 29)"),
    ("light", True, "rgb(243, 242, 238)"),
])  # fmt: skip
def test_it_has_its_theme_from_the_first_picture_on(browser, tmp_path, theme, dark, paper):
    page = browser.page(480, 400, dark, calm=True)
    page.call("Page.addScriptToEvaluateOnNewDocument", source=FIRST)
    page.open(save_viewer(ITEMS[:1], tmp_path / "page.html", theme=theme))
    assert page.wait(STARTED) is True
    assert page.run("atFirst") == ["dark" if "20" in paper else "light", paper]
    assert page.run("cleared.length") > 0
    assert page.run("Math.max(...cleared)") == 0  # nothing opaque is under the figure: the paper is seen
    page.close()


@pytest.mark.parametrize(("width", "embed"), [(800, False), (390, True)])
def test_a_legend_says_which_side_is_which(opened, width, embed):
    page = opened(ITEMS[:1], width=width, embed=embed)
    assert page.run("[...document.querySelectorAll('#legend span')].map((one) => one.textContent)") == ["left", "right"]
    colours = page.run("[...document.querySelectorAll('#legend .dot')].map((one) => one.style.background)")
    assert colours == ["rgb(47, 185, 202)", "rgb(77, 132, 234)", "rgb(243, 171, 69)", "rgb(234, 98, 89)"]
    left, right, top, bottom = page.box("#legend")
    stage = page.box("#stage")
    assert stage[0] < left < right < stage[1]
    assert stage[2] < top < bottom < stage[3]


def test_no_legend_where_colours_mean_motions(opened):
    page = opened()
    assert page.run("!!legend.offsetParent")
    page.run("mldViewer.set('together', true), 0")
    assert not page.run("!!legend.offsetParent")


def test_keys(opened):
    page = opened()
    assert not page.run("mldViewer.playing")  # who prefers calm starts it
    page.key(" ")
    page.key(" ")
    assert not page.run("mldViewer.playing")
    page.key("Home")
    page.key("ArrowRight")
    assert page.run("mldViewer.frame") == 1
    page.key("End")
    assert page.run("mldViewer.frame") == 59
    page.key("v")
    assert page.run("mldViewer.together")
    page.key("n")
    assert page.run("mldViewer.theme") == "dark"
    page.key("?")
    assert "Space" in page.run("help.hidden ? '' : help.textContent")
    page.key("Escape")
    assert page.run("help.hidden")
    page.key("2")
    assert page.run("mldViewer.shown") == [0]


def test_data_and_downloads_are_the_motion(opened, browser, tmp_path):
    page = opened()
    for index, item in enumerate(ITEMS):
        joints = item.motion.joints.numpy()
        assert np.allclose(page.run(f"mldViewer.joints({index}, 7)"), joints[7], atol=1e-3)
        bytes_ = bytes(page.run(f"Array.from(mldViewer.npy({index}))"))
        assert np.array_equal(np.load(io.BytesIO(bytes_)), joints)
    names = page.run("[...document.querySelectorAll('#downloads [data-file]')].map((button) => button.dataset.file)")
    assert names == ["a-person-walks.npy", "a-person-walks.bvh", "a-person-turns.npy"]
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.querySelector('[data-file$=bvh]').click()")
    saved = tmp_path / "a-person-walks.bvh"
    deadline = time.monotonic() + 30
    while not saved.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert saved.read_bytes() == BVH


def test_odd_motions_are_drawn(opened):
    kit = gliding(40, "kit21", 12.5)
    page = opened([ViewItem(Motion(walker(1), 20.0)), ViewItem(kit), ViewItem(Motion(walker(30) + 300.0, 120.0))])
    page.run("mldViewer.pause(), mldViewer.seek(1), mldViewer.set('together', true), mldViewer.picture(), 0")
    assert page.run("mldViewer.figureCount") == 3
    assert page.run("mldViewer.duration") == pytest.approx(3.2)


@pytest.mark.parametrize("dark", [False, True])
def test_phone_width_and_theme_of_the_system(opened, dark):
    page = opened(width=390, height=780, dark=dark)
    assert page.run("mldViewer.theme") == ("dark" if dark else "light")
    assert page.run("document.documentElement.scrollWidth") == 390
    outside = "[...document.querySelectorAll('button, select')].filter((one) => one.offsetParent && " \
              "(one.getBoundingClientRect().right > 391 || one.getBoundingClientRect().left < -1)).length"
    assert page.run(outside) == 0
    assert page.run("mldViewer.shown") == [0, 1]
    assert bool(page.pixels()[380, 20].mean() < 128) == dark


def test_inside_a_frame(browser, tmp_path):
    (tmp_path / "outer.html").write_text(f"<!doctype html>{viewer_iframe(ITEMS[:1], height=360)}", encoding="utf-8")
    page = browser.page(900, 400)
    page.open(tmp_path / "outer.html")
    page.wait("document.querySelector('iframe')?.contentWindow.mldViewer?.drawn > 1")
    page.wait("document.querySelector('iframe').contentWindow.mldViewer.frame > 0")
    assert page.run("document.querySelector('iframe').contentDocument.getElementById('stage').clientHeight") > 200
    assert not page.events("Runtime.exceptionThrown")
    page.close()


def test_prompts_are_marked_where_they_begin(opened):
    """A row of its own above the tokens: a mark at the frame, words as far as there is room, all of them in the tip."""
    said = [(0, 20, "a person walks"), (20, 60, "now they turn left and walk on")]
    plain = opened(ITEMS[:1])
    without = plain.box("#ruler")
    item = ViewItem(ITEMS[0].motion, "a person walks", TOKENS, prompts=said)
    page = opened([item])
    left, right, top, bottom = page.box("#ruler")
    assert bottom - top > without[3] - without[2] + 10
    row = page.pixels()[int(top) + 30, int(left) : int(right)].astype(int)
    accent = np.abs(row - (0x4A, 0x5E, 0xDE)).max(axis=-1) < 12
    marks = np.nonzero(accent)[0]
    third = (right - left) / 3
    assert ((marks < 4) | (np.abs(marks - third) < 4) | (marks < 14)).all() and (np.abs(marks - third) < 4).any()
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + 2 * third, y=top + 30)
    wanted = "frame 41 · now they turn left and walk on · token"
    page.wait(f"document.querySelector('#tip').textContent.includes('{wanted}')")
