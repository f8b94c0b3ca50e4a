"""Motions judged by people: a sheet of videos for raters, and what several of them say together (MotionMillion spec
5.4)."""
