"""Pictures among the formats of `Motion.save`: once `mld.view` is imported, .png, .mp4, .gif and .html can be written.

Each takes the option `title`, a caption; videos also `on_frame`, which is told how far the drawing is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mld.motion.formats import add_writer
from mld.motion.motion import Motion, show_in_notebooks


def write_sheet(motion: Motion, path: Path, title: str = "") -> None:
    """A contact sheet of one row as `.png`."""
    from mld.view.figure import contact_sheet

    contact_sheet([motion], path, [title])


def write_video(
    motion: Motion, path: Path, title: str = "", on_frame: Callable[[int, int], None] | None = None
) -> None:
    """An H.264 video as `.mp4`. on_frame is told after every frame how many are drawn, and of how many."""
    from mld.view.video import video

    video(motion, path, title, on_frame)


def write_gif(
    motion: Motion, path: Path, title: str = "", on_frame: Callable[[int, int], None] | None = None
) -> None:
    """An animated `.gif`."""
    from mld.view.video import gif

    gif(motion, path, title, on_frame)


def write_page(motion: Motion, path: Path, title: str = "") -> None:
    """A page for the browser, `.html`, that plays the motion in 3D and holds it as BVH, GLB and NPY."""
    from mld.view.browser import ViewItem, save_viewer, with_downloads

    save_viewer([with_downloads(ViewItem(motion, title))], path, title or "motion")


def notebook(motion: Motion) -> str:
    """The viewer as HTML for a notebook."""
    from mld.view.browser import ViewItem
    from mld.view.browser.page import viewer_iframe

    return viewer_iframe([ViewItem(motion, "")])


WRITERS = {".png": write_sheet, ".mp4": write_video, ".gif": write_gif, ".html": write_page}

for _suffix, _write in WRITERS.items():
    add_writer(_suffix, _write)
show_in_notebooks(notebook)
