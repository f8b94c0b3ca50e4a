"""How well texts and motions fit, by an evaluator: `mld.load(evaluator_folder)` gives a `Similarity`.

A motion that is longer than what evaluators are trained on is looked at in windows that overlap by half, each encoded
as a clip of its own; its similarity is that of the best window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mld.errors import CheckpointError, DataError
from mld.example import Caption
from mld.models.contracts.evaluator import MotionEvaluator
from mld.motion import edit
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.padding import padded

WINDOW_SECONDS = 9.8  # 196 frames at 20 fps, the longest that the field's evaluators are trained on
BATCH = 32


@dataclass(frozen=True)
class Windows:
    """Embeddings (W, E) of the windows of one motion, and where each begins and ends in seconds, (W, 2)."""

    embeddings: Tensor
    spans: Tensor


class Similarity:
    """evaluator: a `MotionEvaluator` with weights; it is put into eval mode."""

    def __init__(self, evaluator: MotionEvaluator) -> None:
        self.evaluator = evaluator.eval()
        self.representation = get_representation(evaluator.representation)

    @classmethod
    def load(cls, path_or_hub_id: str | Path, device: str = "cpu") -> Similarity:
        """Open the model folder of an evaluator; `CheckpointError` for another kind of model."""
        from mld.checkpoint import load_model

        network = load_model(path_or_hub_id)
        if not isinstance(network, MotionEvaluator):
            raise CheckpointError(f"{path_or_hub_id} holds a {network.kind}; an evaluator is needed")
        return cls(network.to(device))

    def score(self, text: str, motion: Motion) -> float:
        """How well a text describes a motion: from 0 to 1 by cosine, or minus the distance (see `compare`)."""
        return float(self.scores([text], [motion])[0, 0])

    def scores(self, texts: Sequence[str], motions: Sequence[Motion]) -> Tensor:
        """All texts with all motions, (N, M)."""
        rows = self.embed_texts(texts)
        return torch.stack([self.compare(rows, self.embed(motion).embeddings).amax(1) for motion in motions], dim=1)

    def compare(self, queries: Tensor, items: Tensor) -> Tensor:
        """Embeddings (N, E) and (M, E) -> (N, M), larger is nearer: cosine / 2 + 1/2 where the evaluator was trained
        with the cosine (spec 2.3), minus the Euclidean distance otherwise."""
        if self.evaluator.metric != "cosine":
            return -torch.cdist(queries, items, compute_mode="donot_use_mm_for_euclid_dist")
        unit = torch.nn.functional.normalize
        return unit(queries, dim=-1) @ unit(items, dim=-1).T / 2 + 0.5

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, E), on the CPU. `DataError` for an empty text."""
        return self.evaluator.embed_text([Caption(text) for text in texts]).float().cpu()

    @torch.no_grad()
    def embed(self, motion: Motion) -> Windows:
        """The windows of a motion; one for a motion of up to 9.8 s. `DataError` for one that cannot be embedded."""
        motion = self._readable(motion)
        spans = windows(motion.num_frames, self._window())
        device = self.evaluator.device
        clips = [self.representation.encode(motion.crop(*span)) for span in spans]
        found = []
        for first in range(0, len(clips), BATCH):
            part = clips[first : first + BATCH]
            found.append(self.evaluator.embed_motion(*padded(part, device)).float().cpu())
        return Windows(torch.cat(found), torch.tensor(spans) / motion.fps)

    def _window(self) -> int:
        """Joint frames in a window: one more than feature frames."""
        return min(int(WINDOW_SECONDS * self.evaluator.fps), self.evaluator.max_frames) + 1

    def _readable(self, motion: Motion) -> Motion:
        motion = on_skeleton(motion, self.representation.skeleton.name)
        edit.check_finite(motion)
        motion = edit.resample(motion, self.evaluator.fps) if motion.num_frames > 1 else motion
        if motion.num_frames <= self.evaluator.min_frames:
            least = (self.evaluator.min_frames + 1) / self.evaluator.fps
            raise DataError(f"the motion lasts {motion.duration:.2f} s; the evaluator needs at least {least:.2f} s")
        return motion


def windows(frames: int, longest: int) -> list[tuple[int, int]]:
    """Starts and stops that cover `frames` frames: the whole, or windows of `longest` that overlap by half or more."""
    if frames <= longest:
        return [(0, frames)]
    count = -(-2 * (frames - longest) // longest) + 1
    starts = torch.linspace(0, frames - longest, count).round().long().tolist()
    return [(start, start + longest) for start in starts]
