"""Motions as the data of a page: a JSON description and packed arrays that it refers to by number.

Joints travel as float32, little endian, so that what the page shows and what it saves as NPY are the motion itself.
Everything packed is gzip in base64: the browser unpacks it itself.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mld.errors import DataError
from mld.motion.edit import check_finite
from mld.motion.skeletons import Skeleton
from mld.view.browser.contacts import foot_contacts
from mld.view.browser.item import ViewItem
from mld.view.scene import facing_yaw, floor_height


def pack(data: bytes) -> str:
    """gzip, then base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, compresslevel=9, mtime=0)).decode("ascii")


class Payload:
    """Collects items. `description` is what the page reads first, `packed` the texts it unpacks by index."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self.items: list[dict[str, Any]] = []

    def add(self, item: ViewItem) -> None:
        """Add a motion; `DataError` when it holds NaN or infinity, or its tokens lie outside of it."""
        motion = check_finite(item.motion)
        joints = motion.joints.detach().cpu().numpy().astype("<f4")
        self.items.append({
            "caption": item.caption, "label": item.label, "stem": item.stem, "fps": motion.fps,
            "frames": motion.num_frames, "skeleton": _skeleton(motion.skeleton),
            "floor": floor_height(motion), "facing": round(float(facing_yaw(motion)), 4),
            "joints": self._put(joints.tobytes()),
            "contacts": self._put(foot_contacts(motion).astype(np.uint8).tobytes()),
            "tokens": _tokens(item), "prompts": _spans(item, item.prompts, "prompt"),
            "downloads": [
                {"name": name, "bytes": len(data), "data": self._put(data)} for name, data in item.downloads.items()
            ],
        })  # fmt: skip

    def description(self, **settings: Any) -> str:
        """JSON that may stand inside a <script>."""
        text = json.dumps({**settings, "motions": self.items}, ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

    def _put(self, data: bytes) -> int:
        self.packed.append(pack(data))
        return len(self.packed) - 1


def build(items: Sequence[ViewItem]) -> Payload:
    if not items:
        raise DataError("a viewer needs at least one motion")
    payload = Payload()
    for item in items:
        payload.add(item)
    return payload


def _skeleton(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "name": skeleton.name, "joints": skeleton.joint_names, "parents": skeleton.parents,
        "left_foot": skeleton.left_foot, "right_foot": skeleton.right_foot, "face": skeleton.face_joints,
    }  # fmt: skip


def _tokens(item: ViewItem) -> list[list] | None:
    return None if item.tokens is None else _spans(item, item.tokens, "token")


def _spans(item: ViewItem, spans: Sequence[tuple[int, int, str]], what: str) -> list[list]:
    frames = item.motion.num_frames
    for start, stop, label in spans:
        if not 0 <= start < stop <= frames:
            raise DataError(f"{what} '{label}' covers the frames {start}..{stop - 1} of a motion of {frames} frames")
    return [[int(start), int(stop), str(label)] for start, stop, label in spans]
