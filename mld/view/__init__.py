"""Pictures and videos of motion."""
