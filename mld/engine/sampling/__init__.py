"""The two ways of making tokens: one after the other, or all at once."""
