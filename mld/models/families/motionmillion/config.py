"""Settings of the `motionmillion` family: published sizes by name, the rest as published unless said (spec 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mld.errors import ConfigError, nearest
from mld.models.backbones.llama import LlamaConfig
from mld.models.generation import GenerationSettings
from mld.models.sizes import check_sizes

# Layers, heads and width (spec 3.1). With 64,000 codes a model has more parameters than its name says: codes are read
# and written by tables of 128,003 rows.
SIZES: dict[str, tuple[int, int, int]] = {
    "44M": (8, 8, 512), "111M": (12, 12, 768), "343M": (24, 16, 1024), "775M": (36, 20, 1280), "1B": (48, 24, 1536),
    "3B": (24, 32, 3200), "5B": (24, 32, 4096), "6B": (28, 32, 4096), "7B": (36, 32, 4096),
}  # fmt: skip
PUBLISHED_CAP = 50  # codes: published sampling stops there, whatever the text
END_FIRST = 1  # the code that published sampling gives where the first token is the end


def _generation() -> GenerationSettings:
    return GenerationSettings(max_length=150)


@dataclass
class MotionMillionConfig:
    """size: a name of `SIZES`; layers, heads and width are put over its numbers. positions: of the longest row, text,
    codes and end. longest_text: features of a text beyond so many are cut off. tie_head: codes are read and written by
    one table. rope_dtype: see `LlamaConfig`.

    Training. keep: each code of the history stays with this probability, else a random one stands in its place; -1
    draws the probability anew for each row. text_dropout: share of examples whose text is the empty one (published:
    none); without, a motion that goes on without words is asked for with a text that was never trained.

    Answers. least_codes: the end is not allowed before. ends: the model may end a motion whose length is open; else
    it has `motion_generation.max_length` codes. length_words: a text that ends with "for four seconds" asks for that
    length (`mld.engine.lengths`).
    compat: as published. No length is read from a text, a motion whose length is open has at most 50 codes, one that
    ends at once is the code 1, and one rate of random codes is drawn per batch, for all of its positions."""

    size: str = "111M"
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    positions: int = 301
    longest_text: int = 150
    tie_head: bool = False
    rope_dtype: str = "float32"
    keep: float = 1.0
    text_dropout: float = 0.0
    least_codes: int = 0
    ends: bool = True
    length_words: bool = True
    motion_generation: GenerationSettings = field(default_factory=_generation)
    compat: bool = False

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"size '{self.size}' is not known; {nearest(self.size, SIZES)}")
        check_sizes(self, ("positions", "longest_text"), ("text_dropout",), ("least_codes",))
        if self.keep != -1 and not 0 <= self.keep <= 1:
            raise ConfigError(f"keep is {self.keep}, expected a number between 0 and 1, or -1")
        if self.least_codes > self.motion_generation.max_length:
            raise ConfigError(f"least_codes is {self.least_codes}, more than motion_generation.max_length")
        if (needed := self.longest_text + self.motion_generation.max_length + 1) > self.positions:
            raise ConfigError(
                f"positions is {self.positions}, but a text of {self.longest_text}, motion_generation.max_length"
                f" {self.motion_generation.max_length} and the end need {needed}"
            )
        self.llama()

    def llama(self) -> LlamaConfig:
        """The blocks."""
        own = (self.layers, self.heads, self.width)
        layers, heads, width = (usual if one is None else one for one, usual in zip(own, SIZES[self.size]))
        return LlamaConfig(layers, heads, width, self.positions, qk_norm=False, rope_dtype=self.rope_dtype)
