"""The page `/live`: a figure that moves while words are typed, drawn with the modules of the 3D viewer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mld.view.browser import page as viewer

WEB = Path(__file__).parent / "web"
STYLES = ((viewer.WEB, "style.css"), (WEB, "live.css"))


@lru_cache(maxsize=1)
def live_page() -> str:
    """The page as text; it asks nothing but the server that it came from."""
    own = [viewer.module(f"live/{path.name}", path) for path in sorted(WEB.glob("*.js"))]
    parts = {
        "STYLE": "".join((folder / name).read_text(encoding="utf-8") for folder, name in STYLES),
        "LICENCE": (viewer.VENDOR / "LICENSE").read_text(encoding="utf-8").strip(),
        "MODULES": "\n".join([viewer.modules(), *own]),
        "BOOT": (viewer.WEB / "boot.js").read_text(encoding="utf-8"),
    }
    return viewer.filled((WEB / "live.html").read_text(encoding="utf-8"), parts)
