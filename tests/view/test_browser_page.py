"""The viewer's page as a file: it holds everything, loads nothing, and its data are the motions."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.errors import ConfigError, DataError
from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton
from mld.view import feet
from mld.view.browser import ViewItem, save_viewer, viewer_html, viewer_iframe, with_downloads
from mld.view.browser.contacts import foot_contacts
from mld.view.browser.page import VENDOR, WEB
from tests.walking import walker

HOSTILE = "</script><script>alert(1)</script> & \"quotes\" \u2028 <b>"


def walk(frames: int = 30, **options) -> ViewItem:
    return ViewItem(Motion(walker(frames), 20.0), "a person walks", **options)


def description(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="description">(.*?)</script>', page, re.S)[1])


def packed(page: str) -> list[bytes]:
    found = re.findall(r'<script type="text/plain" class="packed">(.*?)</script>', page, re.S)
    return [gzip.decompress(base64.b64decode(text)) for text in found]


def modules(page: str) -> dict[str, str]:
    """Source by import name."""
    element = r'<script type="text/plain" class="module" data-name="(.*?)"( data-packed)?>(.*?)</script>'
    found = re.findall(element, page, re.S)
    return {name: gzip.decompress(base64.b64decode(text)).decode() if is_packed else text
            for name, is_packed, text in found}


def test_joints_come_back():
    items = [walk(30), ViewItem(Motion(walker(1), 30.0)), ViewItem(Motion(walker(500, turning=0.02) + 200.0, 120.0))]
    page = viewer_html(items)
    data = packed(page)
    for item, entry in zip(items, description(page)["motions"], strict=True):
        joints = np.frombuffer(data[entry["joints"]], "<f4").reshape(entry["frames"], -1, 3)
        assert np.abs(joints - item.motion.joints.numpy()).max() < 1e-3
        assert (entry["fps"], len(entry["skeleton"]["joints"])) == (item.motion.fps, 22)
        assert len(data[entry["contacts"]]) == 2 * item.motion.num_frames


def test_nothing_is_loaded_from_anywhere():
    page = viewer_html([walk()])
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(r"<(link|img|iframe|object|embed|base)\b", page)
    assert not re.search(r"<script[^>]*\bsrc\b", page)
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert "@import" not in style
    assert "url(" not in style
    own = [text for name, text in modules(page).items() if name.startswith("viewer/")]
    assert len(own) > 10
    assert not any(re.search(r"https?:|fetch\(|XMLHttpRequest|WebSocket", text) for text in own)


def test_every_import_is_in_the_page():
    found = modules(viewer_html([walk()]))
    pattern = re.compile(r"""\b(?:from|import)\s*["']([^"']+)["']""")
    assert "viewer/main.js" in found
    for name, source in found.items():
        assert set(pattern.findall(source)) <= set(found), name


def test_three_is_unchanged_small_and_licensed():
    sums = dict(reversed(line.split()) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in sums}
    assert {path.name for path in VENDOR.glob("*.js")} < set(sums)
    assert sum(path.stat().st_size for path in VENDOR.iterdir()) < 1.5e6
    page = viewer_html([walk()])
    assert "The MIT License" in page
    assert "three.js authors" in page
    assert len(page) < 5e5


def test_words_cannot_break_out():
    spans = [(0, 4, HOSTILE)]
    item = ViewItem(Motion(walker(4), 20.0), HOSTILE, spans, HOSTILE, prompts=spans)
    page = viewer_html([item], title=HOSTILE)
    assert "alert(1)</script>" not in page
    entry = description(page)["motions"][0]
    assert (entry["caption"], entry["label"], entry["tokens"]) == (HOSTILE, HOSTILE, [[0, 4, HOSTILE]])
    assert entry["prompts"] == [[0, 4, HOSTILE]]
    frame = viewer_iframe([item], HOSTILE)
    assert frame.count('"') == frame.split("srcdoc")[0].count('"') + 2


@pytest.mark.parametrize("tokens", [[(0, 31, "a")], [(-1, 3, "a")], [(5, 5, "a")]])
def test_tokens_outside_are_refused(tokens):
    with pytest.raises(DataError, match="token 'a'"):
        viewer_html([walk(30, tokens=tokens)])
    with pytest.raises(DataError, match="prompt 'a'"):
        viewer_html([walk(30, prompts=tokens)])


def test_mistakes():
    with pytest.raises(DataError, match="at least one motion"):
        viewer_html([])
    broken = walker(5)
    broken[3, 2, 1] = torch.nan
    with pytest.raises(DataError, match="frame 3"):
        viewer_html([ViewItem(Motion(broken, 20.0))])
    with pytest.raises(ConfigError, match="auto, light, dark"):
        viewer_html([walk()], theme="blue")


def test_saved_whole_with_downloads(tmp_path):
    item = with_downloads(walk(downloads={"notes.csv": b"1,2"}), ["npy"])
    assert set(item.downloads) == {"notes.csv", "a-person-walks.npy"}
    path = save_viewer([item], tmp_path / "deep" / "page.html", "Walk", together=True, embed=True, theme="dark")
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]
    page = path.read_text(encoding="utf-8")
    found = description(page)
    assert (found["title"], found["together"], found["embed"], found["theme"]) == ("Walk", True, True, "dark")
    files = {entry["name"]: packed(page)[entry["data"]] for entry in found["motions"][0]["downloads"]}
    assert files == item.downloads


@pytest.mark.parametrize("name", ["smpl22", "kit21"])
def test_the_body_has_a_shape_for_every_bone(name):
    table = (WEB / "body_parts.js").read_text()
    skeleton = get_skeleton(name)
    bones = {joint.removeprefix("l_").removeprefix("r_") for joint in skeleton.joint_names[1:]}
    assert all(re.search(rf"^  {bone}: ", table, re.M) for bone in bones)


def test_the_body_has_the_heels_of_the_pictures():
    row = re.search(r'bone: "heel", end: 0, offset: \[(.*?)\], radii: \[(.*?)\]', (WEB / "body_parts.js").read_text())
    offset, radii = (np.array([float(number) for number in numbers.split(",")]) for numbers in row.groups())
    heel = np.array([0, feet.ALONG, feet.ABOVE])
    assert (((heel - offset) / radii) ** 2).sum() < 1
    assert re.search(rf"LEG = {feet.LEG};", (WEB / "body_parts.js").read_text())


def test_standing_feet_are_marked_and_lifted_ones_not():
    still = walker(1).repeat(40, 1, 1)
    assert foot_contacts(Motion(still, 20.0)).all()
    raised = still.clone()
    raised[10:20, [7, 10], 1] += 0.3  # left ankle and toe
    marks = foot_contacts(Motion(raised, 20.0))
    assert not marks[11:19, 0].any()
    assert marks[:, 1].all()
    sliding = still + torch.linspace(0, 4, 40)[:, None, None] * torch.tensor([0.0, 0.0, 1.0])
    assert not foot_contacts(Motion(sliding, 20.0)).any()


@settings(max_examples=20, deadline=None)
@given(turn=st.floats(-3.1, 3.1), x=st.floats(-50, 50), fps=st.sampled_from([12.5, 20.0, 30.0, 120.0]))
def test_contacts_do_not_depend_on_place_and_heading(turn, x, fps):
    from mld.motion.edit import transform

    motion = Motion(walker(40), fps)
    same = foot_contacts(motion) == foot_contacts(transform(motion, yaw=turn, x=x))
    assert same.mean() > 0.97  # float32 moves a threshold by a frame
