"""Starts the page: gradio without telemetry, on one address, with headers that keep the browser to this server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mld.errors import MldError, missing_extra
from mld.serve.guard import Headers
from mld.serve.page.files import add_routes
from mld.serve.page.forms import LARGEST_RECEIVED
from mld.serve.page.guard import Guard
from mld.serve.page.live import add_live_routes
from mld.serve.page.page import build_page
from mld.serve.page.speech import Listener
from mld.serve.studio import Studio

WEB = Path(__file__).parent / "web"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def launch(studio: Studio, host: str, port: int, clips: Path | None = None, listener: Listener | None = None,
           allowed: Sequence[str] = ()):  # fmt: skip
    """Serve the page in the background and return it. `MldError` when the port is taken.

    allowed: names under which it may be asked, besides its own address and those of this machine."""
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)  # gradio reads it when it is imported, and later
    gr = require()
    page = build_page(gr, studio, clips, listener)
    try:
        with without_proxies():  # gradio asks its own address whether it is up
            app, _, _ = page.launch(
                server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
                **_options(gr, studio, host, clips, allowed),
            )  # fmt: skip
    except OSError as error:
        raise MldError(f"port {port} on {host} cannot be used (taken by another program?); choose another: --port "
                       f"{port + 1}") from error
    studio.ending.callback(add_routes(app, studio).close)
    add_live_routes(app, studio.lives)
    return page


def mount(app, studio: Studio, host: str, clips: Path | None = None, allowed: Sequence[str] = ()) -> None:
    """Put the page at the root of another application, behind the addresses that it has."""
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads)
    gr = require()
    studio.ending.callback(add_routes(app, studio).close)
    add_live_routes(app, studio.lives)
    page = build_page(gr, studio, clips)
    gr.mount_gradio_app(app, page, path="/", run_history=False, **_options(gr, studio, host, clips, allowed))


def _options(gr, studio: Studio, host: str, clips: Path | None, allowed: Sequence[str]) -> dict:
    """What both ways of serving the page tell gradio."""
    return {
        "show_error": False, "footer_links": [], "max_file_size": f"{LARGEST_RECEIVED}mb", "theme": _theme(gr),
        "css_paths": WEB / "page.css", "head": _head(), "ssr_mode": False,
        "allowed_paths": [str(clips)] if clips else [], "app_kwargs": _app_options(studio, host, allowed),
    }  # fmt: skip


def require():
    """gradio, with its telemetry off. `MldError` names the extra when it is missing, and what is amiss when it cannot
    be opened."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with without_proxies():
            import gradio
    except ModuleNotFoundError as error:
        if error.name == "gradio":
            raise missing_extra("gradio", "ui") from error
        raise MldError(f"gradio is here, but a package that it needs is not: {error.name}; pip install {error.name}"
                       ) from error  # fmt: skip
    except ImportError as error:
        raise MldError(f"gradio is here, but cannot be opened: {' '.join(str(error).split())[:200]}") from error
    return gradio


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """Within the block no proxy is used: what is asked there is this machine, and no proxy leads back to it."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.lower() in PROXIES}
    try:
        yield
    finally:
        os.environ.update(kept)


def _head() -> str:
    """What the page's head holds besides what gradio puts there."""
    style, script = ((WEB / name).read_text(encoding="utf-8") for name in ("sizes.css", "page.js"))
    return f"<style>{style}</style><script>{script}</script>"


def _app_options(studio: Studio, host: str, allowed: Sequence[str]) -> dict:
    from starlette.middleware import Middleware

    guard = Middleware(Guard, host=host, allowed=allowed, uploads=studio.uploads)
    return {"docs_url": None, "redoc_url": None, "openapi_url": None, "middleware": [Middleware(Headers), guard]}


def _theme(gr):
    """Neutral colours of the viewer; the rest is in `page.css`."""
    system = ["ui-sans-serif", "system-ui", "sans-serif"]
    theme = gr.themes.Base(font=system, font_mono=["ui-monospace", "monospace"], radius_size="lg", spacing_size="sm")
    return theme.set(
        body_background_fill="#f3f2ee", body_background_fill_dark="#14171d",
        body_text_color="#23272f", body_text_color_dark="#e8ebf1",
        block_background_fill="transparent", block_background_fill_dark="transparent",
        block_border_width="0px", block_shadow="none", block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        input_background_fill="#ffffff", input_background_fill_dark="#1d222b",
        input_border_color="#d6d6d0", input_border_color_dark="#363d4a",
        border_color_primary="#d6d6d0", border_color_primary_dark="#363d4a",
        color_accent="#4a5ede", slider_color="#4a5ede", slider_color_dark="#7f92ff",
        button_primary_background_fill="#4a5ede", button_primary_background_fill_dark="#7f92ff",
        button_primary_background_fill_hover="#3d50ca", button_primary_background_fill_hover_dark="#93a4ff",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#10131a",
        button_secondary_background_fill="#e7e6df", button_secondary_background_fill_dark="#262c37",
        button_secondary_background_fill_hover="#dcdbd3", button_secondary_background_fill_hover_dark="#303744",
        button_secondary_text_color="#23272f", button_secondary_text_color_dark="#e8ebf1",
    )  # fmt: skip
