"""The addresses under `motions/`: stage, viewer, strips, and motions in every format, made when they are asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mld.errors import MldError
from mld.serve.page import viewer as stage
from mld.serve.page.making import Kitchen
from mld.serve.page.thumbnails import strip
from mld.serve.results import Result
from mld.serve.studio import Studio

TYPES = {
    "glb": "model/gltf-binary", "gltf": "model/gltf+json", "csv": "text/csv", "json": "application/json",
    "mp4": "video/mp4", "gif": "image/gif", "png": "image/png", "html": "text/html; charset=utf-8", "bvh": "text/plain",
}  # fmt: skip
BUSY = {"Retry-After": "10"}
KEEP = {"Cache-Control": "private, max-age=3600"}


def add_routes(app, studio: Studio) -> Kitchen:
    """Add the addresses to a FastAPI app; what makes the files, to be closed in the end."""
    from fastapi.responses import HTMLResponse, PlainTextResponse, Response

    kitchen = Kitchen(studio.work)

    def found(key: str, number: int = 0) -> Result | None:
        result = studio.results.get(key)
        return result if result is not None and 0 <= number < len(result.items) else None

    def shown(make):
        def answer(key: str):
            result = found(key)
            return HTMLResponse(make(result), headers=KEEP) if result else HTMLResponse(stage.gone(), 404)

        return answer

    def picture(key: str, number: int):
        result = found(key, number)
        if result is None:
            return Response(status_code=404)
        return Response(strip(result.items[number].motion), media_type="image/svg+xml", headers=KEEP)

    async def file(key: str, number: int, name: str, names: str = "own"):
        result, kind = found(key, number), Path(name).suffix.lstrip(".").lower()
        if result is None or kind not in stage.kinds():
            return HTMLResponse(stage.gone(), 404)
        future = kitchen.order((key, number, kind, names if kind in stage.NAMED else ""), result)
        if future is None:
            return PlainTextResponse("Many files are being made; please try again in a moment.", 503, BUSY)
        try:
            data = await asyncio.shield(asyncio.wrap_future(future))
        except MldError as error:
            return PlainTextResponse(str(error).replace(f"{studio.work}/", ""), 400)
        disposition = f'attachment; filename="{result.items[number].stem}.{kind}"'
        media = TYPES.get(kind, "application/octet-stream")
        return Response(data, media_type=media, headers={"Content-Disposition": disposition})

    app.get("/motions/{key}/stage")(shown(stage.page))
    app.get("/motions/{key}/view")(shown(stage.view))
    app.get("/motions/{key}/{number}/strip.svg")(picture)
    app.get("/motions/{key}/{number}/{name}")(file)
    return kitchen
