"""What a token store holds: which stretches of which clips, and the name that follows from clips and weights.

Stretches are told by arrays, a number for each clip: a million clips take megabytes. Clips are known by the fingerprint
of their source, where it has one (shards have); otherwise every number of theirs is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from tqdm import tqdm

from mld.data.clips import ClipSource, fingerprint, histories
from mld.data.config import DataConfig
from mld.data.instructions import InstructionSet, stretches
from mld.data.mixture import Mixture
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout

FORMAT = 3  # of the arrays, and of the way to the numbers in them
Stretch = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """tokenizer, clips: hashes. kind: (N,) numbers in `kinds`, which say the stretches of a clip that are kept."""

    tokenizer: str
    clips: str
    kind: np.ndarray
    kinds: tuple[tuple[Stretch, ...], ...]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def key(self) -> str:
        return blake2b((self.tokenizer + self.clips).encode(), digest_size=8).hexdigest()

    @cached_property
    def sizes(self) -> np.ndarray:
        """Stretches of each clip (N,)."""
        return np.array([len(kind) for kind in self.kinds], dtype=np.int64)[self.kind]

    @cached_property
    def first(self) -> np.ndarray:
        """The first entry of each clip, and the number of all: (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def stretches(self, index: int) -> tuple[Stretch, ...]:
        return self.kinds[self.kind[index]]

    def offsets(self, layout: TokenLayout) -> np.ndarray:
        """The first token of each entry, and the number of all: (E + 1,)."""
        counts = np.array([_count(layout, b - a) for kind in self.kinds for a, b in kind], dtype=np.int64)
        begins = np.concatenate([[0], np.cumsum([len(kind) for kind in self.kinds])])[self.kind]
        entries = np.repeat(begins - self.first[:-1], self.sizes) + np.arange(self.first[-1])
        return np.concatenate([[0], np.cumsum(counts[entries])])


def make_plan(tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig) -> Plan:
    """Of the clips of a source, for all that examples of it can be made of."""
    if contents := fingerprint(source):
        given = None
    else:
        given, contents = _read_all(source)
    kind, kinds = _kinds(tokenizer.layout, source, given, cfg)
    total = blake2b(repr((FORMAT, contents, kinds)).encode(), digest_size=8)
    total.update(np.ascontiguousarray(kind))
    return Plan(identity(tokenizer), total.hexdigest(), kind, kinds)


def identity(tokenizer: MotionTokenizer) -> str:
    """A hash of the settings and weights of a tokenizer."""
    total = blake2b(repr((FORMAT, tokenizer.describe())).encode(), digest_size=8)
    for name, value in tokenizer.state_dict().items():
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _read_all(source: ClipSource) -> tuple[np.ndarray, str]:
    """The frames of each clip that are given, and a hash of names and features."""
    given, total = np.zeros(len(source), dtype=np.int64), blake2b(digest_size=8)
    for index in tqdm(range(len(source)), desc="reading all clips, which shards need not", unit="clip", leave=False):
        clip = source[index]
        given[index] = clip.history
        total.update(repr((clip.name, clip.num_frames, clip.history)).encode())
        total.update(np.ascontiguousarray(clip.features.numpy()))
    return given, total.hexdigest()


def _kinds(
    layout: TokenLayout, source: ClipSource, given: np.ndarray | None, cfg: DataConfig
) -> tuple[np.ndarray, tuple[tuple[Stretch, ...], ...]]:
    """The whole clip where a token stands for frames; else all stretches that can be drawn, by length and what is given
    of it, so that clips share them."""
    instructions = InstructionSet.load(cfg.instructions)
    motions = instructions.motions(Mixture(instructions.subtasks, cfg.tasks).drawn)
    lengths, base = np.asarray(source.lengths, dtype=np.int64), 1 << 32
    if layout.frames_per_token:
        found, kind = np.unique(lengths, return_inverse=True)
        return kind.astype(np.int32), tuple(((0, int(length)),) for length in found)
    given = histories(source) if given is None else given
    found, kind = np.unique(lengths * base + given, return_inverse=True)
    return kind.astype(np.int32), tuple(
        stretches(int(both // base), motions, cfg, int(both % base)) for both in found
    )


def _count(layout: TokenLayout, frames: int) -> int:
    """Tokens of a stretch; one that is shorter than a token has one all the same."""
    return layout.count(max(frames, layout.shortest))
