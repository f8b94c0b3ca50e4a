"""Settings of the `vimogen` family: published sizes by name, the rest as published unless said (vimogen spec 3-6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mld.errors import ConfigError, nearest
from mld.models.backbones.dit import DiTConfig
from mld.models.heads.flow_solvers import SOLVERS
from mld.models.sizes import check_factors, check_sizes


class Size(NamedTuple):
    """layers, heads and width of the transformer, width of the hidden layer of its MLP, layers that read references."""

    layers: int
    heads: int
    width: int
    ffn: int
    reference_layers: int


# "1.3B" is the name of the base model, Wan2.1-T2V; with references it has 2.26 B parameters, without 1.42 B. The others
# are ours, with the proportions of the published one.
SIZES: dict[str, Size] = {
    "tiny": Size(4, 4, 128, 512, 2), "small": Size(8, 6, 384, 1536, 4), "base": Size(12, 8, 768, 3072, 6),
    "1.3B": Size(30, 12, 1536, 8960, 15),
}  # fmt: skip
# What a trained model keeps: its architecture, and what its weights foretell.
OWN = (*Size._fields, "time_waves", "positions", "patch", "references", "prediction", "pool_texts", "text_order",
       "length_head")  # fmt: skip


PREDICTIONS = ("velocity", "clean")
WEIGHTINGS = ("velocity", "balanced")


@dataclass
class ViMoGenConfig:
    """size: a name of `SIZES`; layers to reference_layers are put over its numbers. time_waves, positions: of the
    transformer. patch: frames that share a position of it, which makes it faster. references: whether motions may lead
    it; without, as in ViMoGen-light, it follows texts alone. text_rows: features of texts are filled up with rows of
    zeros to so many, which are read, too; longer texts stay. prediction: what the network foretells, the "velocity" of
    the flow as published, or the "clean" frames, from which the velocity follows. A velocity holds the noise of all 276
    columns, which has to pass through the width of the network: one of 160 learns nothing so, and motions out of the
    clean frames, which a few dozen numbers describe (Li and He 2025, "Back to Basics: Let Denoising Generative Models
    Denoise"). pool_texts: the mean of a text's features modulates
    all blocks, beside what frames look at. text_order: frames see which word comes first (`DiTConfig`). length_head:
    learn how long the motion of a text is.

    Training. text_dropout: share of texts that become the empty one, which guidance needs. column_weight: of the root's
    columns, in the loss; role_weights: of columns of other roles (`Representation.roles`), 1 where none is named. Half
    of the loss of 263 columns is the error of velocities, which say little that positions do not. training_shift: of
    the levels that are drawn, none for `shift`; with hundreds of columns that tell of each other, all but the highest
    levels show what the motion is, and only those where it is not seen teach what the words say. weighting: by
    level, of errors of clean frames: as of the "velocity" that follows from them, or "balanced", each level as much as
    another, which small fast movements need: they are lost at middle levels, whose errors are a tenth of those of the
    highest. step_weight: of errors of the steps between frames, in columns of places, beside those of the places.
    start_std: of the weights that embed texts and the time, before training; 0.02 is too faint for small networks. Of
    references, per batch a share of frames in `corrupt_rate` gets noise of a size in `corrupt_scale` (normalised
    units), a share in `blend_rate` becomes a mixture of its neighbours, and `drop_rate` of them are not seen.

    Answers. guidance_scale: of texts; references have none. guidance_from: the lowest level that is guided.
    num_inference_steps, sampler: of `mld.models.heads.flow`. shift: of the levels. strength: how far up the levels a
    sample begins. smooth: average the made frames with their neighbours. reconcile: where columns say the same twice,
    make one body of it (`Representation.reconciled`); without, as published, joints are where the sums of their steps
    lead, whose errors add up. default_frames: of a motion whose length nobody names, neither the length head.
    length_words: a text that ends with "for four seconds" names it (`mld.engine.lengths`). exact: the fast way to
    velocities; else the published loop, which computes everything anew, to the same numbers.
    compat: as published. Times of training are rounded to bfloat16, frames of references are not seen from the end on
    where some in between are dropped, a motion is also smoothed over the padding behind it, and no length is read from
    a text."""

    size: str = "1.3B"
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    ffn: int | None = None
    reference_layers: int | None = None
    time_waves: int = 256
    positions: int = 5000
    patch: int = 1
    references: bool = True
    text_rows: int = 226
    prediction: Literal["velocity", "clean"] = "velocity"
    pool_texts: bool = False
    text_order: bool = False
    length_head: bool = False
    text_dropout: float = 0.5
    column_weight: float = 3.0
    role_weights: dict[str, float] = field(default_factory=dict)
    training_shift: float | None = None
    weighting: Literal["velocity", "balanced"] = "velocity"
    step_weight: float = 0.0
    start_std: float = 0.02
    corrupt_rate: list[float] = field(default_factory=lambda: [0.0, 0.4])
    corrupt_scale: list[float] = field(default_factory=lambda: [0.05, 0.15])
    blend_rate: list[float] = field(default_factory=lambda: [0.03, 0.08])
    drop_rate: float = 0.02
    guidance_scale: float = 5.0
    guidance_from: float = 0.0
    num_inference_steps: str = "50"
    sampler: str = "euler"
    shift: float = 5.0
    strength: float = 0.7
    smooth: bool = True
    reconcile: bool = False
    default_frames: int = 100
    length_words: bool = True
    exact: bool = True
    compat: bool = False

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"size '{self.size}' is not known; {nearest(self.size, SIZES)}")
        check_sizes(self, ("text_rows", "default_frames", "patch"), ("text_dropout", "drop_rate", "strength"))
        check_factors(self, ("column_weight", "guidance_scale", "shift", "start_std"))
        for role, weight in self.role_weights.items():
            if isinstance(weight, bool) or not 0 <= weight < float("inf"):
                raise ConfigError(f"role_weights.{role} is {weight}, expected a number from 0 on")
        for name in ("strength", "shift", "training_shift"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}, expected a number above 0")
        if self.prediction not in PREDICTIONS:
            raise ConfigError(f"prediction is '{self.prediction}'; {nearest(self.prediction, PREDICTIONS)}")
        if not 0 <= self.guidance_from <= 1:
            raise ConfigError(f"guidance_from is {self.guidance_from}, expected a level from 0 to 1")
        if self.weighting not in WEIGHTINGS:
            raise ConfigError(f"weighting is '{self.weighting}'; {nearest(self.weighting, WEIGHTINGS)}")
        if self.weighting != "velocity" and self.prediction == "velocity":
            raise ConfigError(f"weighting '{self.weighting}' is of errors of clean frames; set prediction: clean")
        if isinstance(self.step_weight, bool) or not 0 <= self.step_weight < float("inf"):
            raise ConfigError(f"step_weight is {self.step_weight}, expected a number from 0 on")
        for name in ("corrupt_rate", "corrupt_scale", "blend_rate"):
            _check_range(name, getattr(self, name), name != "corrupt_scale")
        if self.sampler not in SOLVERS:
            raise ConfigError(f"sampler '{self.sampler}' is not one of {', '.join(SOLVERS)}")
        if not (self.num_inference_steps.isdecimal() and 0 < int(self.num_inference_steps) <= 1000):
            raise ConfigError(f"num_inference_steps is '{self.num_inference_steps}', expected 1 to 1000")
        if self.default_frames > self.positions:
            raise ConfigError(f"default_frames is {self.default_frames}, but there are {self.positions} positions")
        self.transformer(1, 1, 1)

    @property
    def levels_weigh(self) -> str:
        """How errors weigh by level: a name of `WEIGHTS` of training."""
        return "bell" if self.prediction == "velocity" else self.weighting

    @property
    def steps(self) -> int:
        return int(self.num_inference_steps)

    def transformer(self, channels: int, reference_channels: int, text_width: int) -> DiTConfig:
        """The network for frames, references and text features of such widths; `patch` frames are one for it."""
        size = {name: own if (own := getattr(self, name)) is not None else usual
                for name, usual in SIZES[self.size]._asdict().items()}  # fmt: skip
        if not self.references:
            size["reference_layers"] = reference_channels = 0
        return DiTConfig(
            **size, channels=self.patch * channels, reference_channels=self.patch * reference_channels,
            text_width=text_width, time_waves=self.time_waves, positions=-(-self.positions // self.patch),
            start_std=self.start_std, pool_texts=self.pool_texts, text_order=self.text_order,
        )  # fmt: skip


def _check_range(name: str, value: list[float], share: bool) -> None:
    fits = len(value) == 2 and 0 <= value[0] <= value[1] and (not share or value[1] <= 1)
    if not fits:
        raise ConfigError(f"{name} is {value}, expected two numbers from 0 on, the smaller one first")
