"""The matching networks of Guo et al. (evaluation spec 1)."""
