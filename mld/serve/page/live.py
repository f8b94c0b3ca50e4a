"""The addresses under `live/`: the page with the moving figure, and what it asks. A page is that of one visitor, whose
name, which nobody guesses, is in its address."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from mld.errors import MldError
from mld.serve.api.live_page import WEB as SHARED
from mld.serve.live import Live, Lives
from mld.serve.page import viewer as stage
from mld.view.browser import page as viewer

WEB = Path(__file__).parent / "web"
MODULES = (("live/figure.js", SHARED / "figure.js"), ("live/page.js", WEB / "live.js"))
STYLES = (viewer.WEB / "style.css", WEB / "live.css")
PATIENCE = 0.15  # seconds that an answer waits for a chunk; the next question brings word of what is shown
LOOK = 0.02  # seconds between two looks
TEXTS = 40  # the newest, that a page marks


def add_live_routes(app, lives: Lives) -> None:
    """Add the addresses to a FastAPI app."""
    from fastapi import Request
    from fastapi.responses import HTMLResponse, JSONResponse

    def page(visitor: str):
        if not lives.present(visitor):
            return HTMLResponse(stage.gone(), 404)
        return HTMLResponse(live_page(), headers={"Cache-Control": "no-store"})

    async def answered(request, answer) -> JSONResponse:
        try:
            asked = json.loads(await request.body() or b"{}")
            if not isinstance(asked, dict):
                raise ValueError
        except ValueError:
            return JSONResponse({"error": "The question is no JSON object."}, 400)
        try:
            return JSONResponse(await answer(asked))
        except MldError as error:
            return JSONResponse({"error": str(error)}, 400)

    async def start(visitor: str, request: Request):
        async def answer(asked: dict[str, Any]) -> dict[str, Any]:
            seed, model = asked.get("seed", 0), asked.get("model")
            return _about(await asyncio.to_thread(lives.start, visitor, asked.get("text"), seed, model))

        if not lives.present(visitor):
            return HTMLResponse(stage.gone(), 404)
        return await answered(request, answer)

    async def say(visitor: str, request: Request):
        async def answer(asked: dict[str, Any]) -> dict[str, Any]:
            live = lives.find(visitor, asked.get("run"))
            await asyncio.to_thread(lives.say, live, asked.get("text"))
            return _texts(live)

        return await answered(request, answer)

    async def following(visitor: str, request: Request):
        async def answer(asked: dict[str, Any]) -> dict[str, Any]:
            live = lives.find(visitor, asked.get("run"))
            until = time.monotonic() + PATIENCE
            chunks = lives.take(live, asked.get("shown"))
            while not chunks and not live.ended and time.monotonic() < until:
                await asyncio.sleep(LOOK)
                chunks = lives.take(live, None)
            packed = [_packed(chunk) for chunk in chunks]
            return {"chunks": packed, "ended": live.ended, "why": live.why, **_texts(live)}

        return await answered(request, answer)

    async def stop(visitor: str, request: Request):
        async def answer(asked: dict[str, Any]) -> dict[str, Any]:
            await asyncio.to_thread(lives.stop, visitor, asked.get("run"))
            return {}

        return await answered(request, answer)

    for function in (start, say, following, stop):
        function.__annotations__["request"] = Request
    app.get("/live/{visitor}/")(page)
    for name, function in (("start", start), ("say", say), ("next", following), ("stop", stop)):
        app.post(f"/live/{{visitor}}/{name}")(function)


def frame(visitor: str, model: str) -> str:
    """The frame that shows a visitor's page; nothing where it is not shown. model: the one that is chosen."""
    from urllib.parse import quote

    from mld.serve.page.chat import words

    source = f"live/{visitor}/#{quote(model or '', safe='')}"
    return f'<iframe class="stage" name="live" title="Live" src="{words(source)}" allow="fullscreen"></iframe>'


@lru_cache(maxsize=1)
def live_page() -> str:
    """The page as text; it asks nothing but the server that it came from."""
    parts = {
        "STYLE": "".join(path.read_text(encoding="utf-8") for path in STYLES),
        "LICENCE": (viewer.VENDOR / "LICENSE").read_text(encoding="utf-8").strip(),
        "MODULES": "\n".join([viewer.modules(), *(viewer.module(name, path) for name, path in MODULES)]),
        "BOOT": (viewer.WEB / "boot.js").read_text(encoding="utf-8"),
    }
    return viewer.filled((WEB / "live.html").read_text(encoding="utf-8"), parts)


def _about(live: Live) -> dict[str, Any]:
    """What a page has to know of a figure."""
    representation = live.pipeline.representation
    skeleton = representation.skeleton
    return {
        "run": live.run, "native": live.streamer.native, "fps": representation.fps,
        "joints": list(skeleton.joint_names), "parents": list(skeleton.parents), "face": list(skeleton.face_joints),
        **_texts(live),
    }  # fmt: skip


def _texts(live: Live) -> dict[str, Any]:
    return {"texts": [[frame, text] for frame, text in live.session.texts[-TEXTS:]]}


def _packed(chunk) -> dict[str, Any]:
    """joints: float32, little endian, (n, J, 3) metres, in base64."""
    joints = base64.b64encode(chunk.joints.numpy().astype("<f4").tobytes()).decode("ascii")
    return {"first": chunk.start, "frames": chunk.num_frames, "joints": joints}
