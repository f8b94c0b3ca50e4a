"""Clips in shards: a few large Arrow files and an index instead of a file per clip."""
