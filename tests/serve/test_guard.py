"""Who may ask the page, what may be stored, and files that are made without holding up anybody."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mld.checkpoint import CONFIG, load_model
from mld.errors import CheckpointError
from mld.motion.motion import Motion
from mld.serve.guard import Names
from mld.serve.page import guard as guard_module
from mld.serve.page import making as making_module
from mld.serve.studio import Studio
from mld.view.browser import ViewItem
from tests.serve.visitors import Visitor, served
from tests.walking import walker

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")


@pytest.fixture(scope="module")
def address(studio: Studio) -> Iterator[str]:
    with served(studio, ["motion.example"]) as address:
        yield address


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client


@pytest.mark.parametrize(("host", "origin", "status"), [
    (None, None, 200), ("localhost:1", None, 200), ("[::1]:1", None, 200), ("motion.example", None, 200),
    ("motion.example", "https://motion.example", 200), (None, "https://motion.example", 200),
    ("evil.example", None, 403), ("127.0.0.1.evil.example", None, 403), ("", None, 403), ("[", None, 403),
    ("192.168.1.2", None, 403), (None, "http://evil.example", 403), (None, "null", 403), (None, "", 403),
    (None, "http://[", 403),
    (None, "http://localhost:3000", 403), ("evil.example", "http://evil.example", 403),
])  # fmt: skip
def test_only_known_names_and_the_page_itself_are_answered(http, address, host, origin, status) -> None:
    headers = ({"host": host} if host is not None else {}) | ({"origin": origin} if origin is not None else {})
    answer = http.get(f"{address}/config", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "\n" not in answer.text and "components" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_an_empty_name_allows_nobody() -> None:
    """`--allow-host "$NAME"` with a variable that is not set: else pages without an origin of their own could ask."""
    names = Names("127.0.0.1", ["", " "])
    assert names.refused({"host": "127.0.0.1:8700", "origin": "null"}, True)[0] == 403
    assert names.refused({"host": ""}, False)[0] == 403


@pytest.mark.parametrize(("host", "name", "status"), [
    ("0.0.0.0", "192.168.1.2:8888", True), ("0.0.0.0", "evil.example", False), ("192.168.1.2", "192.168.1.2", True),
    ("192.168.1.2", "10.0.0.1", False), ("0.0.0.0", "[fe80::1]:8888", True),
])  # fmt: skip
def test_addresses_in_a_network(host: str, name: str, status: bool) -> None:
    assert (Names(host).refused({"host": name}, False)[0] == 0) == status


def test_uploads_come_from_the_page(http, address: str, studio: Studio, files: Path) -> None:
    sent = {"files": ("walk.bvh", (files / "walk.bvh").read_bytes())}
    upload = f"{address}/gradio_api/upload"
    before = sorted(studio.uploads.rglob("*")) if studio.uploads.is_dir() else []
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert http.post(upload, files=sent, headers=headers).status_code == 403
        assert http.post(f"{upload}/", files=sent, headers=headers).status_code in (403, 404)
    assert (sorted(studio.uploads.rglob("*")) if studio.uploads.is_dir() else []) == before
    assert http.post(upload, files=sent, headers={"origin": address}).status_code == 200


def test_uploads_are_bounded_one_by_one_and_together(http, address, studio: Studio, monkeypatch) -> None:
    def send(size: int) -> int:
        data = bytes([size % 251]) * size
        headers = {"origin": address}
        return http.post(f"{address}/gradio_api/upload", files={"files": ("a.npy", data)}, headers=headers).status_code

    monkeypatch.setattr(guard_module, "MOST_STORED", guard_module._stored(studio.uploads)[0] + 250_000)
    assert [send(100_000 + number) for number in range(4)] == [200, 200, 507, 507]
    assert send(61_000_000) == 413

    def pieces() -> Iterator[bytes]:
        yield b"x" * 1000

    answer = http.post(f"{address}/gradio_api/upload", content=pieces(), headers={"origin": address})
    assert answer.status_code == 411
    long = http.post(f"{address}/gradio_api/run/predict", content=b"x" * 1_000_001, headers={"origin": address})
    assert long.status_code == 413


def test_files_that_are_made_hold_up_nobody(http, address: str, studio: Studio, monkeypatch) -> None:
    made, begun = making_module.made, []

    def slow(result, number: int, *about):
        begun.append(number)
        time.sleep(2)
        return made(result, number, *about)

    monkeypatch.setattr(making_module, "made", slow)
    items = [ViewItem(Motion(walker(4), 20.0), "walk") for _ in range(60)]
    key, statuses = studio.results.put("many", items), []

    def load(number: int) -> None:
        file = f"{address}/motions/{key}/{number}/walk.npy"
        statuses.append(httpx.get(file, trust_env=False, timeout=90).status_code)

    threads = [threading.Thread(target=load, args=(number,)) for number in (*[0] * 20, *range(60))]
    for thread in threads:
        thread.start()
    time.sleep(1)
    began = time.monotonic()
    visitor = Visitor(address)
    visitor.ask("a person walks", seconds=0.5)
    assert "strip.svg" in str(visitor.follow())
    assert http.get(f"{address}/motions/{key}/stage").status_code == 200
    assert time.monotonic() - began < 15, "another request had to wait"
    for thread in threads:
        thread.join(90)
    room = making_module.AT_ONCE + making_module.MOST_WAITING
    assert set(statuses) == {200, 503} and statuses.count(200) >= room
    assert len(begun) == len(set(begun)), "a file is made once for all who ask"
    again = time.monotonic()
    assert http.get(f"{address}/motions/{key}/{begun[0]}/walk.npy").status_code == 200
    assert time.monotonic() - again < 1.5, "it is kept"
    visitor.close()


@pytest.mark.parametrize("key", ["family", "representation", "temperature", "quantizer"])
def test_a_model_folder_reads_nothing_of_the_environment(model_folder: Path, tmp_path, monkeypatch, key: str) -> None:
    monkeypatch.setenv("MLD_SECRET", "top-secret-value")
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    text = (folder / CONFIG).read_text(encoding="utf-8")
    changed = re.sub(rf"\b{key}: .*", f"{key}: '${{oc.env:MLD_SECRET}}'", text, count=1)
    assert changed != text
    (folder / CONFIG).write_text(changed, encoding="utf-8")
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    assert "top-secret-value" not in str(error.value)
