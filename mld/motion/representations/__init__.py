"""Motion as feature rows. `get_representation("humanml3d")` or `("kit")`; a representation declares named blocks."""

from mld.motion.representations.base import (
    Representation,
    get_representation,
    representation_names,
    representation_of_width,
)

__all__ = ["Representation", "get_representation", "representation_names", "representation_of_width"]
