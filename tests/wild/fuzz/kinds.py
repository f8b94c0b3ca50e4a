"""All kinds of what is damaged."""

from __future__ import annotations

from tests.wild.fuzz import models, stored  # noqa: F401  (they fill the table)
from tests.wild.fuzz.table import KINDS as KINDS
