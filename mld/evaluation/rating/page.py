"""The page of a sheet: one HTML file that loads nothing from anywhere but the videos beside it, or holds these too."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mld.evaluation.rating.scale import AXES, FORMAT, SCALE
from mld.files import write_text
from mld.view.browser.page import filled

WEB = Path(__file__).parent / "web"


def write_page(about: Mapping[str, Any], path: Path, embed: bool = False) -> Path:
    """about: content of `sheet.json`; nothing of models but the hashes of all of them goes into the page. embed: the
    videos as well."""
    prompts = [
        {
            "line": entry["line"], "text": entry["text"], "category": entry["category"],
            "clips": [
                {"id": clip["id"], "src": _source(path.parent / entry["folder"] / f"{clip['id']}.mp4", path, embed)}
                for clip in entry["clips"] if "frames" in clip
            ],
        }
        for entry in about["prompts"]
    ]  # fmt: skip
    content = {
        "format": FORMAT, "sheet": about["sheet"], "models": about["hashes"],
        "axes": [{"key": key, "name": name, "help": text} for key, (name, text) in AXES.items()],
        "scale": [{"value": value, "name": name} for value, name in SCALE.items()],
        "prompts": [prompt for prompt in prompts if prompt["clips"]],
    }  # fmt: skip
    parts = {
        "TITLE": html.escape(about["title"] or "Rating motions"),
        "STYLE": (WEB / "rating.css").read_text(encoding="utf-8"),
        "SCRIPT": (WEB / "rating.js").read_text(encoding="utf-8"),
        "CONTENT": json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"),
    }
    return write_text(path, filled((WEB / "rating.html").read_text(encoding="utf-8"), parts))


def _source(video: Path, page: Path, embed: bool) -> str:
    if embed:
        return "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()
    return video.relative_to(page.parent).as_posix()
