"""A data set that needs no files: parametric actions on the 22-joint figure, with captions, deterministic by seed."""

from mld.data.sources.procedural.source import ProceduralSource

__all__ = ["ProceduralSource"]
