"""A headless Chromium without any package: its DevTools protocol over a pipe, JSON messages that end in a zero byte.

`Chromium(path)` starts it, `.page(width, height)` gives a `Page`. Software rendering, so that WebGL works anywhere.
"""

from __future__ import annotations

import base64
import fcntl
import io
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
TEXTS = {"Enter": "\r"}  # what a key writes, where that is not its name
CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}  # keys that the browser heeds
START = """import os, sys
for handle, wanted in zip(sys.argv[1:3], (3, 4)):
    os.dup2(int(handle), wanted)
os.execv(sys.argv[3], sys.argv[3:])"""


def find() -> str | None:
    """The program, if there is one: `$CHROMIUM`, or what is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """The process; `close` ends it. profile: an empty folder for its files."""

    def __init__(self, program: str, profile: Path) -> None:
        (theirs_in, self._write), (self._read, theirs_out) = (map(_above_nine, os.pipe()) for _ in range(2))
        shim = [sys.executable, "-c", START, str(theirs_in), str(theirs_out)]
        arguments = [*shim, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(arguments, pass_fds=(theirs_in, theirs_out), **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def page(self, width: int, height: int, dark: bool = False, calm: bool = False) -> Page:
        """A new tab. dark, calm: what the system is said to prefer (a dark scheme, reduced motion)."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        preferences = {"prefers-color-scheme": "dark" if dark else "light"}
        preferences["prefers-reduced-motion"] = "reduce" if calm else "no-preference"
        return Page(self, target, session, (width, height), preferences)

    def call(self, method: str, session: str | None = None, timeout: float = 150, **params: Any) -> dict[str, Any]:
        """The result of a method; RuntimeError where the browser refuses, TimeoutError where it does not answer."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._message(deadline, method)
            if answer.get("id") != number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def close(self) -> None:
        os.close(self._write)
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._read)

    def _message(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise TimeoutError(f"Chromium did not answer {method}")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)


class Page:
    """A tab of its own size (width, height) and preferences (media features)."""

    def __init__(self, browser: Chromium, target: str, session: str, size: tuple[int, int], preferences: dict) -> None:
        self._browser, self._target, self._session = browser, target, session
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        width, height = size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.resolve().as_uri())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 150) -> Any:
        """Until the expression is true, in the page that is open by then."""
        deadline = time.monotonic() + seconds
        while not (value := self._run_unless_leaving(script)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never came true: {script}")
            time.sleep(0.05)
        return value

    def _run_unless_leaving(self, script: str) -> Any:
        try:
            return self.run(script)
        except RuntimeError as error:
            if "navigated" not in str(error):
                raise
            return None

    def box(self, selector: str) -> list[float]:
        """Left, right, top and bottom of an element, pixels."""
        return self.run(f"(box => [box.left, box.right, box.top, box.bottom])"
                        f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")  # fmt: skip

    def key(self, key: str, shift: bool = False) -> None:
        text = {"text": TEXTS.get(key, key)} if len(key) == 1 or key in TEXTS else {}
        codes = {"windowsVirtualKeyCode": CODES[key]} if key in CODES else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift, **codes,
                      **(text if kind == "keyDown" else {}))  # fmt: skip

    def pixels(self) -> np.ndarray:
        """What is seen, (height, width, 3) uint8."""
        from PIL import Image

        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def events(self, method: str) -> list[dict[str, Any]]:
        """Parameters of the events of this page so far."""
        self.run("0")
        mine = (event for event in self._browser.events if event.get("sessionId") == self._session)
        return [event["params"] for event in mine if event["method"] == method]

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)


def _above_nine(handle: int) -> int:
    """The same file under a number that is out of the way of 3 and 4."""
    high = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(handle)
    return high
