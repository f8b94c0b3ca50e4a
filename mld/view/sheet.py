"""Many motions on one picture to look over: a row of stills per motion under its caption, rows in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mld.motion.motion import Motion
from mld.view.scene import BACKGROUND, INK
from mld.view.stills import stills
from mld.view.text import font, wrap

STILLS = 6  # of each motion, evenly over its time
PLACE = (176, 132)  # pixels of a still, in the shape of `stills`
COLUMNS = 2  # of motions beside each other, from the third on
CAPTION, SIZE = 18, 13  # pixels of the line over the stills and of its letters
GAP = 6  # pixels between motions


def contact_sheet(motions: Sequence[tuple[Motion, str]], columns: int | None = None) -> Image.Image:
    """One picture (RGB) of motions with their captions, row by row. The camera of each stands still; its stills go from
    the first frame to the last."""
    columns = columns or (1 if len(motions) < 3 else COLUMNS)
    rows = [_row(motion, caption) for motion, caption in motions]
    width, height = rows[0].width + GAP, rows[0].height + GAP
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * width - GAP, lines * height - GAP), BACKGROUND)
    for place, row in enumerate(rows):
        sheet.paste(row, (place % columns * width, place // columns * height))
    return sheet


def _row(motion: Motion, caption: str) -> Image.Image:
    row = Image.new("RGB", (STILLS * PLACE[0], CAPTION + PLACE[1]), BACKGROUND)
    said = wrap(f"{caption} ({motion.duration:.1f} s)", SIZE, row.width - 8, max_lines=1)
    ImageDraw.Draw(row).text((4, 1), "".join(said), fill=INK, font=font(SIZE))
    frames = np.linspace(0, motion.num_frames - 1, STILLS).round().astype(int).tolist()
    for place, still in enumerate(stills(motion, frames, lettered=False)):
        row.paste(still.resize(PLACE, Image.Resampling.LANCZOS), (place * PLACE[0], CAPTION))
    return row
