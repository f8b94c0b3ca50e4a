"""What is filled in for a task of the page, and the limits of what may be asked."""

from __future__ import annotations

from dataclasses import dataclass

from mld.models.contracts.generator import Output, Shape

LONGEST_TEXT = 300  # characters
LONGEST_CLIP = 120.0  # seconds of an upload
LONGEST_WISH = 120.0  # seconds of an answer, more than any model makes at once; each says what its own limit is
MOST_SAMPLES = 6
LARGEST_UPLOAD = 20  # MB
LARGEST_RECEIVED = 3 * LARGEST_UPLOAD  # MB; what is too large is received to be refused by its name, in its box
HIGHEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Form:
    """What a person fills in for a task. shape: of its requests. words: "none", "optional" or "needed"."""

    name: str
    label: str
    hint: str
    words: str
    shape: Shape
    examples: tuple[str, ...] = ()

    @property
    def clips(self) -> int:
        """How many motions are needed."""
        return self.shape.clips

    @property
    def makes(self) -> Output:
        return self.shape.output
