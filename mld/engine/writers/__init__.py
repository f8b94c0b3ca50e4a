"""How answers are written: one writer for texts, and one for motions in each way that families have of making them.

A family names its way (`MotionGenerator.writes`); a new way is one file here and one line in `MOTION`.
"""

from __future__ import annotations

from mld.engine.writers.base import Job, Writer
from mld.engine.writers.codes import CodeWriter
from mld.engine.writers.latents import LatentWriter
from mld.engine.writers.texts import TextWriter
from mld.models.contracts.generator import MotionGenerator
from mld.motion.representations.base import Representation

MOTION: dict[str, type[Writer]] = {"codes": CodeWriter, "latents": LatentWriter}

__all__ = ["Job", "Writer", "writers"]


def writers(model: MotionGenerator, representation: Representation) -> dict[str, Writer]:
    """The model's writer for each kind of output."""
    return {
        "motion": MOTION[model.writes](model, representation),
        "text": TextWriter(model, representation),
    }
