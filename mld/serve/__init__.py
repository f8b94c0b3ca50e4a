"""Web UI and server."""
