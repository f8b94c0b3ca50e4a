"""The page in a real browser: words become a figure that moves, an upload becomes words, files are saved and valid."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mld.motion.motion import Motion
from mld.serve import studio as studio_module
from mld.serve.studio import Studio
from mld.serve.visits import Visits
from mld.view.browser import ViewItem
from tests.serve.browsing import REPLIES, VIEWER, fill, say
from tests.view import chromium
from tests.walking import walker

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")
pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install it or set $CHROMIUM")

VALIDATE = """
require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report.issues)))"""


def test_words_become_a_figure_that_moves_and_a_valid_file(opened, browser, tmp_path: Path) -> None:
    page = opened()
    say(page, "a person walks")
    page.wait(f"{REPLIES} === 1")
    page.wait(f"{VIEWER}?.drawn > 0")
    assert page.run(f"{VIEWER}.captions()") == ["a person walks"]
    assert page.run("document.querySelector('#text textarea').value") == ""
    pictures = []
    for share in (0.1, 0.5):
        page.run(f"{VIEWER}.pause(), {VIEWER}.seek({share} * {VIEWER}.duration), {VIEWER}.picture(), 0")
        pictures.append(page.pixels().astype(int))
    changed = np.abs(pictures[1] - pictures[0]).max(axis=-1) > 24
    assert changed[:, 400:].sum() > 300  # the figure, on the right
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.querySelector('iframe.stage').contentDocument.querySelector('[data-kind=glb]').click()")
    saved = tmp_path / "a-person-walks.glb"
    deadline = time.monotonic() + 60
    while not saved.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    magic, version, length = struct.unpack("<4sII", saved.read_bytes()[:12])
    assert (magic, version, length) == (b"glTF", 2, saved.stat().st_size)
    node = shutil.which("node")
    checked = node and subprocess.run([node, "-e", VALIDATE, str(saved)], capture_output=True, text=True, check=False)
    if not checked or checked.returncode:
        pytest.skip("the saved GLB is not validated: gltf-validator is not on NODE_PATH (npm i gltf-validator)")
    assert json.loads(checked.stdout)["numErrors"] == 0


def test_a_field_that_was_left_empty_stays_empty(opened) -> None:
    page = opened()
    page.wait("document.querySelector('#seconds input').placeholder.startsWith('\N{LESS-THAN OR EQUAL TO}')")
    for task in ("m2t", "pred", "t2m"):
        page.run(f"document.querySelector('#task input[value={task}]').click()")
        page.wait(f"!!document.querySelector('#seconds input')?.offsetParent === {json.dumps(task != 'm2t')}")
    page.wait("document.querySelector('#seconds input').value === ''", 20)
    fill(page, "seconds", "2.5")
    page.run("document.querySelector('#task input[value=pred]').click()")
    page.wait("document.querySelector('#seconds input').placeholder === 'auto'")
    assert page.run("document.querySelector('#seconds input').value") == "2.5"


def test_the_chosen_task_is_in_view_and_may_be_asked_at_once(opened) -> None:
    page = opened(390, 780)
    page.run("document.querySelector('#task input[value=inbetween]').click(), document.querySelector('#send').click()")
    page.wait("document.querySelector('.turn.failed')?.textContent.includes('upload two motions')")
    label = "document.querySelector('#task label:has(input:checked)').getBoundingClientRect()"
    page.wait(f"(box => box.left >= 0 && box.right <= innerWidth)({label})", 10)


OVERLAPS = """
(selector => {
  const shown = [...document.querySelectorAll(selector)].filter(one => one.offsetParent);
  const boxes = shown.map(one => [one, one.getBoundingClientRect()]);
  return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([other, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([other]) => [one.outerHTML, other.outerHTML].map(text => text.slice(0, 80))));
})"""
CUT = """
[...document.querySelectorAll(`#brand h1, #task label, .knob :is(label > span, input), #say button, #more button,
  #model input`)]
  .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1).map(one => one.textContent || one.value)"""
LABELS = "#brand h1, #model, #task, .log, #ideas, #text, #send, .knob label > span, .knob input, #again, #clear, #stage"


def in_view(page: chromium.Page, selector: str) -> bool:
    left, right, top, bottom = page.box(selector)
    width, height = page.run("[innerWidth, innerHeight]")
    return 0 <= left < right <= width and 0 <= top < bottom <= height


def fits(page: chromium.Page) -> None:
    """What is asked next is in view, whole; nothing lies on something else, and nothing is cut off or scrolls away."""
    assert in_view(page, "#composer") and in_view(page, "#send") and in_view(page, "#text textarea")
    assert page.run(f"{OVERLAPS}({json.dumps(LABELS)})") == []
    assert page.run(CUT) == []
    assert page.run("[scrollX, scrollY]") == [0, 0]
    whole = page.run("(({scrollWidth, scrollHeight}) => [scrollWidth, scrollHeight])(document.documentElement)")
    assert whole == page.run("[innerWidth, innerHeight]")


@pytest.mark.parametrize(("width", "height"), [
    (1240, 800), (390, 780), (360, 640), (320, 568), (390, 420), (320, 300), (844, 390), (768, 1024),
])  # fmt: skip
def test_the_composer_stays_in_view_at_every_size(opened, width: int, height: int) -> None:
    page = opened(width, height)
    fits(page)
    for number in range(3):
        say(page, f"a person walks {'on and on ' * 12}")
        page.wait(f"{REPLIES} === {number + 1}")
        fits(page)
    page.run("window.scrollTo(0, 500), document.querySelector('.gradio-container').scrollTo(0, 500)")
    fits(page)
    page.run("document.querySelector('#task input[value=inbetween]').click()")
    page.wait("!!document.querySelector('#second')?.offsetParent")
    fits(page)
    stage_is_seen = page.run("!!document.querySelector('#stage').offsetParent")
    assert stage_is_seen == (width > 640 or height > 480)


def test_a_keyboard_on_the_screen_leaves_the_composer_in_view(opened) -> None:
    """Some phones lay it over the page: then only `visualViewport` tells. An enlarged page is no smaller one."""
    page = opened(390, 780)
    seen = "(height, scale) => { for (const [name, value] of Object.entries({height, scale})) Object.defineProperty" \
           "(visualViewport, name, {value, configurable: true}); visualViewport.dispatchEvent(new Event('resize')) }"
    page.run(f"({seen})(400, 1)")
    page.wait("!document.querySelector('#stage').offsetParent")
    assert page.box("#composer")[3] <= 400
    page.run(f"({seen})(390, 2)")
    page.wait("!!document.querySelector('#stage').offsetParent")
    assert 700 < page.box("#composer")[3] <= 780


def test_phone_in_the_dark(opened) -> None:
    assert opened(390, 780, dark=False).pixels()[-8:, :4].mean() > 200
    assert opened(390, 780, dark=True).pixels()[-8:, :4].mean() < 40


def test_nothing_flashes_in_the_dark(browser, address: str, studio: Studio) -> None:
    """The page, its stage and the viewer in it are dark before their scripts run."""
    key = studio.results.put("walking", [ViewItem(Motion(walker(30), 20.0), "a person walks")])
    page = browser.page(1000, 640, dark=True)
    page.call("Page.addScriptToEvaluateOnNewDocument", source="""
      top.papers ??= [];
      addEventListener('DOMContentLoaded', () => top.papers.push(getComputedStyle(document.body).backgroundColor));
    """)
    for opened, papers in ((address, 1), (f"{address}motions/{key}/stage", 2)):
        page.call("Page.navigate", url=opened)
        page.wait(f"window.papers?.length === {papers}", 30)
        assert page.run("papers") == ["rgb(20, 23, 29)"] * papers
    page.close()


@pytest.fixture
def slow(monkeypatch) -> None:
    """Every step of the model waits a moment, so that there is time to click."""
    step = studio_module._step

    def slow_step(*about):
        time.sleep(0.3)
        return step(*about)

    monkeypatch.setattr(studio_module, "_step", slow_step)


def test_stop_is_clicked_while_the_model_works(opened, slow) -> None:
    page = opened()
    say(page, "a person walks")
    page.wait("document.querySelector('.turn.working')?.textContent.includes('step')")
    page.run("document.querySelector('#stop').click()")
    page.wait("document.querySelector('.turn.stopped .reply')?.textContent === 'Stopped.'", 10)
    page.wait("!document.querySelector('#stop')?.offsetParent")
    say(page, "a person runs")
    page.wait(f"{REPLIES} === 1")


FOCUS = """
(one => {
  const style = getComputedStyle(one.matches('#task input') ? one.closest('label') : one);
  const name = one.ariaLabel || one.closest('label')?.innerText || one.innerText || one.title;
  const marked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  return [one.id || one.closest('[id]').id, !!name.trim(), marked];
})(document.activeElement)"""


@pytest.mark.parametrize(("width", "height", "dark"), [(1240, 800, False), (390, 780, True)])
def test_keys_alone(opened, slow, width: int, height: int, dark: bool) -> None:
    """Tab reaches everything in the order of the page, what is reached has a name and is marked; Enter sends, Escape
    ends the work."""
    page = opened(width, height, dark)
    page.wait("!!document.activeElement.closest('#text')")  # where a person begins
    page.run("((start) => { start.tabIndex = -1; start.focus() })(document.querySelector('#brand'))")
    reached = []
    while not reached or reached[-1] != "clear":
        page.key("Tab")
        where, named, marked = page.run(FOCUS)
        assert named, where
        assert marked or where == "text", where  # there the frame around it is
        reached.append(where)
        assert len(reached) < 30, reached
    order = ["task", "ideas", "text", "send", "seconds", "samples", "seed", "again", "clear"]
    assert [one for one in dict.fromkeys(reached) if one in order] == order
    page.key("Tab", shift=True)
    assert page.run(FOCUS)[0] == "again"
    page.run("document.querySelector('#text textarea').focus()")
    page.call("Input.insertText", text="a person walks")
    page.wait("document.querySelector('#text textarea').value === 'a person walks'")
    page.key("Enter")
    page.wait("document.querySelector('.turn.working')?.textContent.includes('step')")
    page.key("Escape")
    page.wait("document.querySelector('.turn.stopped .reply')?.textContent === 'Stopped.'", 20)


def test_a_page_that_is_loaded_again_keeps_its_talk_and_its_work(opened, slow) -> None:
    page = opened()
    say(page, "a person walks")
    page.wait("!!document.querySelector('.turn.working')")
    page.call("Page.reload")
    page.wait(f"{REPLIES} === 1")
    assert "a person walks" in page.run("document.querySelector('.asked').textContent")
    page.wait(f"{VIEWER}?.drawn > 0")
    assert page.run(f"{VIEWER}.captions()") == ["a person walks"]


@pytest.mark.parametrize("again", [False, True])
def test_who_asks_before_the_page_has_arrived_is_answered(opened, monkeypatch, again: bool) -> None:
    """On a slow line the page is there, and words are written, before the server has found the conversation."""
    arrive, late = Visits.arrive, threading.Event()

    def slow_arrive(*about):
        late.wait(20)
        return arrive(*about)

    page = opened()
    if again:
        say(page, "a person runs")
        page.wait(f"{REPLIES} === 1")
    monkeypatch.setattr(Visits, "arrive", slow_arrive)
    if not again:
        page.run("sessionStorage.clear()")
    page.run("window.before = true")
    page.call("Page.reload")
    ready = "['#text textarea', '#send', '#ideas button', '.stage'].every(one => document.querySelector(one))"
    page.wait(f"!window.before && {ready}")
    say(page, "a person walks")
    page.wait("[...document.querySelectorAll('.asked')].some(one => one.textContent.includes('a person walks'))")
    late.set()
    page.wait(f"{VIEWER}?.captions?.()[0] === 'a person walks'", 60)
    page.wait(f"{REPLIES} === {2 if again else 1}", 60)


def test_a_tab_that_is_closed_ends_its_work(opened, browser, address, studio: Studio, slow) -> None:
    page = browser.page(800, 600)
    page.call("Page.navigate", url=address)
    page.wait("['#text textarea', '#send'].every(one => document.querySelector(one))")
    say(page, "a person sits down slowly")
    page.wait("!!document.querySelector('.turn.working')")
    turn = next(turn for turn in studio._open if turn.said == "a person sits down slowly")
    page.close()
    deadline = time.monotonic() + 30
    while turn.open and time.monotonic() < deadline:
        time.sleep(0.1)
    assert turn.state == "stopped"


def test_numbers_out_of_bounds_are_refused_in_words(opened) -> None:
    page = opened()
    last = "[...document.querySelectorAll('.turn.failed')].at(-1)?.textContent"
    for field, value, usual, said in (
        ("seconds", "130", "0", "up to 120 seconds"), ("samples", "9", "1", "1 to 6 samples"),
        ("seed", "-3", "0", "Seeds go from 0"),
    ):  # fmt: skip
        fill(page, field, value)
        say(page, "a person walks")
        page.wait(f"{last}?.includes({json.dumps(said)})", 20)
        fill(page, field, usual)


LIVE = "document.querySelector('#live iframe')?.contentWindow?.mldLive"
LIVE_PAGE = "document.querySelector('#live iframe').contentDocument"
DARK, LIGHT = True, False


@pytest.mark.parametrize(("width", "height", "dark"), [(1240, 800, LIGHT), (390, 780, DARK)])
def test_words_are_said_to_a_figure_that_moves(opened, studio: Studio, width: int, height: int, dark: bool) -> None:
    """Typed with Enter; marks, stop, reset, another start; the figure ends where another tab is chosen."""
    page = opened(width, height, dark)
    page.run("document.querySelector('#task input[value=live]').click()")
    page.wait(f"!!({LIVE})")
    assert page.run("['#chat', '#composer', '#stage'].every(one => !document.querySelector(one).offsetParent)")
    assert in_view(page, "#live iframe") and in_view(page, "#task")

    def type_words(text: str) -> None:
        page.run(f"{LIVE_PAGE}.querySelector('#words').focus(), 0")
        page.call("Input.insertText", text=text)
        page.key("Enter")

    type_words("a person walks")
    page.wait(f"({LIVE}).figure?.at > 0.1")
    before = page.run(f"[...({LIVE}).figure.pose]")
    assert page.run(f"{LIVE_PAGE}.querySelector('#words').value") == ""
    type_words("someone sits down")
    page.wait(f"({LIVE}).texts.length === 2")
    assert page.run(f"({LIVE}).texts[1][0] / ({LIVE}).fps - ({LIVE}).figure.at") < 2.5  # seconds until they hold
    page.wait(f"{LIVE_PAGE}.querySelector('#now').textContent === 'someone sits down'")
    assert page.run(f"[...({LIVE}).figure.pose]") != before
    assert page.run(f"({LIVE}).figure.ahead") < 2
    inked = f"""(canvas => canvas.getContext('2d').getImageData(0, canvas.height - 6, canvas.width, 1).data
        .filter((value, at) => at % 4 === 3 && value > 0).length)({LIVE_PAGE}.querySelector('#marks'))"""
    assert page.run(inked) > 0.1 * page.run("document.querySelector('#live iframe').clientWidth")
    corner = page.pixels()[int(page.box("#live iframe")[2]) + 40, width - 40].mean()
    assert corner < 60 if dark else corner > 200
    page.run(f"{LIVE_PAGE}.querySelector('#stop').click()")
    page.wait(f"!({LIVE}).running")
    assert until_none(studio)
    page.run(f"{LIVE_PAGE}.querySelector('#reset').click()")
    page.wait(f"!({LIVE}).figure && !({LIVE}).running")
    type_words(" ")
    assert not page.run(f"({LIVE}).running")
    type_words("x " * 149)  # more than the tiny model reads
    page.wait(f"{LIVE_PAGE}.querySelector('#problem').textContent.includes('tokens')")
    page.run(f"{LIVE_PAGE}.querySelector('#words').value = ''")
    type_words("a person jumps")
    page.wait(f"({LIVE}).figure?.at > 0.1")
    assert len(studio.lives) == 1
    page.run("document.querySelector('#task input[value=t2m]').click()")
    page.wait("!document.querySelector('#live iframe') && !!document.querySelector('#composer').offsetParent")
    assert until_none(studio)


def until_none(studio: Studio, seconds: float = 20) -> bool:
    """Whether no figure is made any more, soon."""
    deadline = time.monotonic() + seconds
    while len(studio.lives) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not len(studio.lives)
