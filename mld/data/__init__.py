"""Clips, captions, instruction templates, mixtures, batching, the Lightning DataModule."""
