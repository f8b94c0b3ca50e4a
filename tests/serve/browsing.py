"""What a person does on the page in a browser, and where what comes of it is seen."""

from __future__ import annotations

import json
from pathlib import Path

from tests.view import chromium

VIEWER = "document.querySelector('iframe.stage')?.contentDocument?.querySelector('#view')?.contentWindow?.mldViewer"
REPLIES = "document.querySelectorAll('#chat .turn.done').length"


def say(page: chromium.Page, text: str) -> None:
    box = "document.querySelector('#text textarea')"
    page.run(f"{box}.focus(), {box}.select()")  # words that were refused stay in it
    page.call("Input.insertText", text=text)
    page.wait(f"document.querySelector('#text textarea').value === {json.dumps(text)}")
    page.run("document.querySelector('#send').click()")


def choose(page: chromium.Page, task: str) -> None:
    page.run(f"document.querySelector('#task input[value={task}]').click()")
    page.wait("getComputedStyle(document.querySelector('#clips') ?? document.body).display !== 'none'")
    page.wait("!!document.querySelector('#first input[type=file]')")


def bring(page: chromium.Page, place: str, path: Path) -> None:
    """Choose a file for a box; it is then on its way."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector=f"#{place} input[type=file]")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def upload(page: chromium.Page, place: str, path: Path) -> None:
    bring(page, place, path)
    page.wait(f"document.querySelector('#{place}').innerText.includes({json.dumps(path.stem)})")


def fill(page: chromium.Page, field: str, value: str) -> None:
    box = f"document.querySelector('#{field} input')"
    page.run(f"{box}.focus(), {box}.select()")
    page.call("Input.insertText", text=value)
    page.wait(f"{box}.value === {json.dumps(value)}")
    page.run(f"{box}.blur()")
