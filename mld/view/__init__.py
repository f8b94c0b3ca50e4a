"""Pictures, videos and pages of motion. Importing it lets `Motion.save` write them (`mld.view.files`)."""

from mld.view import files

__all__ = ["files"]
