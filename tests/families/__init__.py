"""Three tiny families that the product does not have: vectors in order, codes under a text prefix, raw frames at once.

They show that a new way of making motion is a folder and a line in a table: they run through training, checkpoints,
commands and the page without any code that knows them.
"""
