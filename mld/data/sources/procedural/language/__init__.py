"""English for made-up clips: the many ways in which people ask for a motion, all of them true and in grammar."""

from mld.data.sources.procedural.language.sentences import sentences

__all__ = ["sentences"]
