"""Where captioned clips come from: one file or room per kind of source."""
