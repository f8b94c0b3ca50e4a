"""Motion without an end: it goes on while words change, many at once, and can be saved and taken up again."""
