"""Pretrained text encoders, frozen, one file a family, and the cache of what they say."""
