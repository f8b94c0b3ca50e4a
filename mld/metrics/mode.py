"""How numbers are counted."""

from typing import Literal

Mode = Literal["strict", "upstream"]  # upstream: with the quirks of published code
