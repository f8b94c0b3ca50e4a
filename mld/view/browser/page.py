"""Puts the page together: template, style, our modules as they are, three.js packed, data packed. Nothing is loaded
from anywhere: a content security policy in the file forbids it.

Modules import each other by bare names ("viewer/player.js", "three"); `web/boot.js` makes an import map of them.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mld.errors import ConfigError
from mld.files import write_text
from mld.view.browser.item import ViewItem
from mld.view.browser.payload import build, pack

HERE = Path(__file__).parent
WEB, VENDOR = HERE / "web", HERE / "vendor"
THEMES = ("auto", "light", "dark")
VENDORED = {  # import name -> file
    "three-core": "three.core.min.js",
    "three": "three.module.min.js",
    "three/addons/controls/OrbitControls.js": "OrbitControls.js",
}
RENAMED = {'from"./three.core.min.js"': 'from"three-core"'}  # relative names mean nothing inside one file


def viewer_html(
    items: Sequence[ViewItem], title: str = "Motion", *, together: bool = False, embed: bool = False,
    theme: str = "auto",
) -> str:  # fmt: skip
    """The page as text.

    together: start with all motions on one floor, not side by side. embed: without title, for a frame inside another
    page. theme: auto (what the system says), light or dark. Readers can change what they see. Raises `DataError` for
    no motion, NaN or tokens out of range."""
    if theme not in THEMES:
        raise ConfigError(f"the viewer knows the themes {', '.join(THEMES)}, not '{theme}'")
    payload = build(items)
    parts = {
        "TITLE": html.escape(title), "THEME": theme,
        "STYLE": (WEB / "style.css").read_text(encoding="utf-8"),
        "LICENCE": (VENDOR / "LICENSE").read_text(encoding="utf-8").strip(),
        "MODULES": modules(),
        "DESCRIPTION": payload.description(title=title, together=together, embed=embed, theme=theme),
        "PACKED": "\n".join(f'<script type="text/plain" class="packed">{text}</script>' for text in payload.packed),
        "BOOT": (WEB / "boot.js").read_text(encoding="utf-8"),
    }
    return filled((WEB / "page.html").read_text(encoding="utf-8"), parts)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A page with `{{NAME}}` replaced by its part."""
    before, *slots = template.split("{{")
    return before + "".join(parts[name] + rest for name, _, rest in (slot.partition("}}") for slot in slots))


def save_viewer(items: Sequence[ViewItem], path: str | os.PathLike, title: str = "Motion", **options) -> Path:
    """Write `viewer_html` to `path`; the file appears whole or not at all."""
    return write_text(path, viewer_html(items, title, **options))


def viewer_iframe(items: Sequence[ViewItem], title: str = "Motion", height: int = 560, **options) -> str:
    """An <iframe> with the embedded viewer in its `srcdoc`, for pages that take HTML, as Gradio or a notebook."""
    page = html.escape(viewer_html(items, title, embed=True, **options), quote=True)
    style = f"width:100%;height:{height}px;border:0;border-radius:12px"
    return f'<iframe title="{html.escape(title)}" style="{style}" allow="fullscreen" srcdoc="{page}"></iframe>'


@lru_cache(maxsize=1)
def modules() -> str:
    """Script elements that hold the modules; the browser does not run them before `boot.js` says so."""
    own = {f"viewer/{path.name}": path for path in sorted(WEB.glob("*.js")) if path.name != "boot.js"}
    elements = [module(name, path) for name, path in own.items()]
    for name, file in VENDORED.items():
        source = (VENDOR / file).read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            source = source.replace(old, new)
        packed = pack(source.encode("utf-8"))
        elements.append(f'<script type="text/plain" class="module" data-name="{name}" data-packed>{packed}</script>')
    return "\n".join(elements)


def module(name: str, path: Path) -> str:
    """A script element that holds a module under the name by which others import it."""
    return f'<script type="text/plain" class="module" data-name="{name}">\n{path.read_text(encoding="utf-8")}</script>'
