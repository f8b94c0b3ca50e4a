"""The server for programs: requests over HTTP, streams over WebSockets."""
