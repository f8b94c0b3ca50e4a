"""The web page: `page.py` lays it out, `studio.py` answers, `files.py` serves motions, `server.py` starts it.

One request is computed at a time, others wait. Nothing is sent anywhere: no analytics, no sharing, no web fonts.
"""
