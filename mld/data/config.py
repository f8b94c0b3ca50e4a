"""Settings of a data source, of its batches and of the task mixture. Plain data: importing it is cheap."""

from __future__ import annotations

from dataclasses import dataclass, field

from mld.errors import ConfigError

SOURCES = ("procedural", "humanml3d", "joints")
MIN_FRAMES = {("humanml3d", "humanml3d"): 40, ("humanml3d", "kit"): 24, ("joints", "humanml3d"): 20}


@dataclass
class DataConfig:
    """Where clips come from and how they are served. Lengths are in frames of features.

    source: "procedural" (made up, needs no files), "humanml3d" (HumanML3D or KIT folder) or "joints" (joints and
    captions, as `clips.jsonl` and `trials.npz`). root: the dataset folder. splits: folder of the split files below
    `root`, empty for the layout's usual place. fps: frame rate of the files, none for that of the representation
    ("joints": of the skeleton; clips are resampled to that of the representation).
    min_frames, max_frames: inclusive length gates; none for the layout's usual minimum. A "joints" clip that is too
    long is cut to max_frames, a HumanML3D one is dropped as in the published protocol. unit_length: frames per token.
    mirror: add mirrored twins to the train split ("joints" only; HumanML3D folders have theirs). quality: the grades
    kept of a "joints" source. window: training window of feature batches, none for whole clips.
    shorten_probability: share of whole clips that are cut to a stretch of random length, for tokenizers of whole clips
    that have to know pieces as well. drop_short: leave out clips shorter than the window (as published); otherwise they
    are padded and masked.
    tasks: weights by group ("Text-to-Motion") or sub-task ("Text-to-Motion/caption"); empty for all alike.
    instructions: "instruct", "pretrain" or the path of a template file. quote_probability: share of captions in double
    quotes. token_drop_probability: share of items that lose a token at one end. compat_seconds: write whole seconds,
    rounded down, as the published templates do.
    """

    source: str = "procedural"
    root: str = ""
    representation: str = "humanml3d"
    splits: str = ""
    fps: float | None = None
    min_frames: int | None = None
    max_frames: int = 199
    unit_length: int = 4
    mirror: bool = False
    quality: list[str] = field(default_factory=lambda: ["good", "fair"])
    window: int | None = 64
    shorten_probability: float = 0.0
    drop_short: bool = False
    batch_size: int = 16
    num_workers: int = 0
    tasks: dict[str, float] = field(default_factory=dict)
    instructions: str = "instruct"
    quote_probability: float = 0.5
    token_drop_probability: float = 1 / 3
    compat_seconds: bool = False
    procedural_size: int = 512
    procedural_seed: int = 0

    def shortest(self) -> int:
        """The minimum length in frames: `min_frames`, or the usual one of the layout and representation."""
        if self.min_frames is not None:
            return self.min_frames
        return MIN_FRAMES.get((self.source, self.representation), 20)

    def check(self) -> None:
        """`ConfigError` for values no source can work with."""
        if self.source not in SOURCES:
            raise ConfigError(f"data.source: '{self.source}' is none of {', '.join(SOURCES)}")
        if self.source != "procedural" and not self.root:
            raise ConfigError(f"data.root: source '{self.source}' needs the path of its dataset folder")
        if self.mirror and self.source != "joints":
            raise ConfigError("data.mirror: only source 'joints' can be mirrored; set it to false")
        if not 1 <= self.shortest() <= self.max_frames:
            raise ConfigError(f"data.min_frames: {self.shortest()} must lie between 1 and max_frames {self.max_frames}")
        for name, least in (("unit_length", 1), ("batch_size", 1), ("num_workers", 0), ("procedural_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"data.{name}: {getattr(self, name)} must be at least {least}")
        for name in ("quote_probability", "token_drop_probability", "shorten_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name}: {getattr(self, name)} must lie between 0 and 1")
