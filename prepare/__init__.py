"""Command-line preparation: python -m prepare.<tool>."""
