"""Pretrained text encoders, frozen, and the cache of what they say. They are never part of a network's weights."""
