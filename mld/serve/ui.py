"""The browser page (Gradio, extra `ui`): text to a playing motion, an uploaded motion to a caption.

`Studio` does the work and turns every user mistake into a message; `build_page` only lays out components. One request
is computed at a time, others wait in a short queue. Nothing is sent anywhere: no analytics, no sharing, no web fonts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from mld.errors import MldError, missing_extra

if TYPE_CHECKING:
    from mld.engine.pipeline import Pipeline
    from mld.motion.motion import Motion

LONGEST = 9.8  # seconds
LONGEST_TEXT = 300  # characters
MAX_UPLOAD = "20mb"
WAITING = 8  # requests in the queue
KEPT = 16  # results on disk; the page has its own copies for an hour
EXAMPLES = [
    "a person walks forward", "the man is running straight ahead", "someone jumps up and down", "a person dances salsa",
    "a person jumps forward about 1 meter", "a person is walking and turns right",
    "the man sits on a high stool, waits and stands up", "a person is boxing, throwing punches with both hands",
]  # fmt: skip


class Studio:
    """Serves the page from one pipeline. Files live in a temporary folder that ends with the object."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._work = tempfile.TemporaryDirectory(prefix="mld-ui-")
        self._results: deque[Path] = deque()

    def make(self, text: str | None, seconds: float | None, seed: float | None):
        """Video path, `.npy` path and message for a text. seconds 0: the model decides."""
        text = (text or "").strip()
        if not text:
            return None, None, "Please describe a motion first, for example: *a person walks forward*."
        if len(text) > LONGEST_TEXT:
            return None, None, f"That is a long text ({len(text)} characters); up to {LONGEST_TEXT} are read."
        try:
            motion = self.pipeline.generate(text, seconds=float(seconds or 0) or None, seed=int(seed or 0))
            video, file = self._write(motion, text)
        except MldError as error:
            return None, None, str(error)
        return video, file, f"{motion.duration:.1f} s, seed {int(seed or 0)}."

    def tell(self, upload: str | None, seed: float | None):
        """Caption, video path and message for an uploaded motion file."""
        from mld.motion.motion import Motion

        if not upload:
            return "", None, "Please choose a .npy file first: joints (T, 22, 3) in metres or features (T, 263)."
        try:
            motion = Motion.load(upload)
            caption = self.pipeline.describe(motion, seed=int(seed or 0))
            video, _ = self._write(motion, caption)
        except MldError as error:
            return "", None, str(error).replace(str(upload), Path(upload).name)
        return caption, video, f"{motion.num_frames} frames, {motion.duration:.1f} s at {motion.fps:g} fps."

    def close(self) -> None:
        self._work.cleanup()

    def _write(self, motion: Motion, title: str) -> tuple[str, str]:
        from mld.view.video import video

        folder = Path(tempfile.mkdtemp(dir=self._work.name))
        self._results.append(folder)
        while len(self._results) > KEPT:
            shutil.rmtree(self._results.popleft(), ignore_errors=True)
        video(motion, folder / "motion.mp4", title)
        return str(folder / "motion.mp4"), str(motion.save(folder / "motion.npy"))


def build_page(studio: Studio, description: str = ""):
    """The page as `gradio.Blocks`."""
    gr = require()
    with gr.Blocks(title="mld: motion and language", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(f"# Motion and language\n{description}")
        with gr.Tab("Text to motion"):
            _text_tab(gr, studio)
        with gr.Tab("Motion to text"):
            _motion_tab(gr, studio)
    return page.queue(max_size=WAITING)


def _text_tab(gr, studio: Studio) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            text = gr.Textbox(label="What does the person do?", placeholder="a person walks forward", lines=2)
            with gr.Row():
                seconds = gr.Slider(0, LONGEST, value=0, step=0.2, label="Seconds (0: automatic)")
                seed = gr.Number(value=0, precision=0, label="Seed", minimum=0)
            button = gr.Button("Make the motion", variant="primary")
            gr.Examples(EXAMPLES, inputs=text, label="Examples")
        with gr.Column(scale=3):
            message = gr.Markdown()
            video = gr.Video(label="Motion", autoplay=True, loop=True, interactive=False)
            file = gr.File(label="Joints (T, 22, 3), 20 frames per second", interactive=False)
    for event in (button.click, text.submit):
        event(studio.make, [text, seconds, seed], [video, file, message], concurrency_limit=1, concurrency_id="model",
              api_name=False)


def _motion_tab(gr, studio: Studio) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            upload = gr.File(label="Motion file: joints (T, 22, 3) or features (T, 263), .npy", file_types=[".npy"])
            seed = gr.Number(value=0, precision=0, label="Seed", minimum=0)
            button = gr.Button("Describe the motion", variant="primary")
        with gr.Column(scale=3):
            caption = gr.Textbox(label="Caption", interactive=False)
            message = gr.Markdown()
            video = gr.Video(label="The motion", autoplay=True, loop=True, interactive=False)
    button.click(studio.tell, [upload, seed], [caption, video, message], concurrency_limit=1, concurrency_id="model",
                 api_name=False)


def launch(studio: Studio, host: str, port: int, description: str = ""):
    """Serve the page in the background and return it. `MldError` when the port is taken."""
    gr = require()
    page = build_page(studio, description)
    theme = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        page.launch(
            server_name=host, server_port=port, share=False, quiet=True, show_error=False, max_file_size=MAX_UPLOAD,
            theme=theme, footer_links=[], ssr_mode=False, prevent_thread_lock=True,
        )  # fmt: skip
    except OSError as error:
        raise MldError(f"port {port} on {host} cannot be used (taken by another program?); choose another: --port "
                       f"{port + 1}") from error
    return page


def require():
    """gradio, with its telemetry off; `MldError` names the extra when it is missing."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise missing_extra("gradio", "ui") from error
    return gradio
