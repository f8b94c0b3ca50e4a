"""Networks that turn motion into tokens and back."""
