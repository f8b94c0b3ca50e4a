"""Benchmarks with prompts of their own: each a folder."""
