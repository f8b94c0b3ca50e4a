"""`ProceduralSource`: made-up clips with captions as a clip source, for newcomers without data and for tests."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from mld.data.clips import Problem, summary
from mld.data.config import DataConfig
from mld.data.sources.joints_captions import encode_clips
from mld.data.sources.pairs import Composed
from mld.data.sources.procedural.script import Script, perform, write_script
from mld.data.sources.procedural.stage import FPS
from mld.errors import ConfigError
from mld.example import Caption, CaptionedClip
from mld.motion.edit import resample_times
from mld.motion.representations.registry import get_representation

BLOCK = 32  # clips whose features are computed together


def clip_script(
    seed: int, split: str, index: int, wide: bool = False, often: Mapping[str, float] | None = None
) -> Script:
    """The script of one clip; it depends on nothing else. Splits and sets of actions never share a random stream."""
    return write_script(np.random.default_rng([seed, zlib.crc32(split.encode()), index, *[1] * wide]), wide, often)


class ProceduralSource:
    """`size` clips of 2 to 8 s, played at 20 fps, the same for the same `seed` and `split`.

    actions: "basic", or "wide", whose clips last 1.5 to 9.8 s. often: of these, how many times as often as usual an
    action, or a form of `wide.FORMS`, is drawn.
    Scripts are written at once (lengths are known from them), motion is played when it is first asked for and kept.
    Raises `ConfigError` for a representation whose skeleton is not the figure's (22 joints).
    """

    def __init__(
        self,
        size: int,
        seed: int,
        representation: str = "humanml3d",
        split: str = "train",
        actions: str = "basic",
        often: Mapping[str, float] | None = None,
    ) -> None:
        self._features = get_representation(representation)
        if self._features.skeleton.name != "smpl22":
            raise ConfigError(f"data.representation: procedural clips cannot be written as '{representation}'; "
                              "use 'humanml3d' or another data.source")
        self.name = f"procedural {split}"
        self.representation = representation
        self.fps = self._features.fps
        self.problems: list[Problem] = []
        self.scripts = [clip_script(seed, split, index, actions == "wide", often) for index in range(size)]
        self.lengths = np.array([self._rows(script) for script in self.scripts], dtype=np.int64)
        self._arguments = (size, seed, representation, split, actions, often)
        self._prefix = f"{split}_{seed}" if actions == "basic" else f"{actions}_{split}_{seed}"
        self._clips: dict[int, CaptionedClip] = {}

    def __reduce__(self):
        """A data worker started afresh gets the arguments and makes the same clips again; actions do not travel."""
        return type(self), self._arguments

    def __len__(self) -> int:
        return len(self.scripts)

    def __getitem__(self, index: int) -> CaptionedClip:
        """Clip `index` with raw features (T, D)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        index %= len(self)
        if index not in self._clips:
            first = index - index % BLOCK
            self._make(range(first, min(first + BLOCK, len(self))))
        return self._clips[index]

    def num_frames(self, index: int) -> int:
        """T of clip `index`: for 20 fps and 263 columns one less than its frames of joints."""
        return int(self.lengths[index])

    def _rows(self, script: Script) -> int:
        return self._features.rows(len(resample_times(script.num_frames, FPS, self.fps)))

    def captions(self, index: int) -> tuple[Caption, ...]:
        """The sentences of clip `index`, from its script alone."""
        return tuple(Caption(text) for text in self.scripts[index].captions)

    def joints(self, index: int) -> np.ndarray:
        """World positions (T, 22, 3), metres, of clip `index` at 20 fps."""
        return perform(self.scripts[index]).joints

    def composed(self) -> list[Composed]:
        """Clips of two actions in a row, and the sentences of the second alone."""
        return [
            Composed(index, int(script.starts[1] * self.fps), tuple(map(Caption, script.then)), script.then_label)
            for index, script in enumerate(self.scripts)
            if script.then
        ]

    def kinds(self, by: str) -> list[str]:
        """What is done in every clip: its label and its group in one."""
        return [script.label for script in self.scripts]

    def report(self) -> str:
        """One line: clips and hours."""
        return summary(self, self.lengths, Counter())

    def _make(self, indices: range) -> None:
        played = [self.joints(index) for index in indices]
        for index, rows in zip(indices, encode_clips(played, self._features, FPS)):
            script = self.scripts[index]
            self._clips[index] = CaptionedClip(
                name=f"{self._prefix}_{index:05d}",
                features=rows,
                captions=script.captions,
                fps=self.fps,
                label=script.label,
            )


def open_procedural(cfg: DataConfig, split: str) -> ProceduralSource:
    """The made-up clips of a split; those of val and test are an eighth of the train split's."""
    size = cfg.procedural_size if split == "train" else max(1, cfg.procedural_size // 8)
    often = cfg.procedural_often if split == "train" else None
    return ProceduralSource(size, cfg.procedural_seed, cfg.representation, split, cfg.procedural_actions, often)
