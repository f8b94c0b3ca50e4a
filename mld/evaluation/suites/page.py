"""The page of a suite: a table of numbers, and motions in the 3D viewer. One file that loads nothing from anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mld.files import write_text
from mld.view.browser import ViewItem, viewer_html
from mld.view.browser.page import filled

WEB = Path(__file__).parent / "web"


def write_suite_page(
    path: Path, title: str, about: str, content: Mapping[str, Any], items: Sequence[ViewItem], script: str,
    style: str = "",
) -> Path:  # fmt: skip
    """content: what `script` makes the table of, JSON-ready; places of motions are those among `items`. style: beyond
    that of all suites."""
    viewer = viewer_html(items, embed=True) if items else ""
    parts = {
        "TITLE": html.escape(title), "ABOUT": html.escape(about),
        "STYLE": (WEB / "suite.css").read_text(encoding="utf-8") + style, "SCRIPT": script,
        "CONTENT": json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"),
        "VIEWER": html.escape(viewer, quote=True),
    }
    return write_text(path, filled((WEB / "suite.html").read_text(encoding="utf-8"), parts))
