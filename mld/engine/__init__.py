"""Sampling: requests in, motions and texts out."""
