"""Generators, a room per family. Families do not know each other; what two of them share stands in `mld.models`."""
