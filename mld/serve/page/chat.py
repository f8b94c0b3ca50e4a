"""The history as HTML: what was asked on the right, what came of it on the left. Everything from outside is escaped."""

from __future__ import annotations

import html
import time

from mld.serve.conversation import FAILED, STOPPED, WAITING, WORKING, Conversation, Turn

WELCOME = """<div class="welcome"><h2>What should the figure do?</h2>
<p>Describe a motion, or bring one of your own: it can be told in words, gone on with, or joined to another.</p>
</div>"""


def words(text: str) -> str:
    """Text as HTML that nothing, no template either, reads as anything but text."""
    return html.escape(text).replace("$", "&#36;").replace("{", "&#123;").replace("}", "&#125;")


def history(session: Conversation) -> str:
    """All turns of a session; the newest is at the end, and in view."""
    turns = "".join(_turn(turn, session.shown) for turn in session.turns)
    return f'<div class="log" tabindex="0" role="log" aria-label="History"><div>{turns or WELCOME}</div></div>'


def _turn(turn: Turn, shown: str) -> str:
    return f'<article class="turn {turn.state}">{_asked(turn)}{_reply(turn, shown)}</article>'


def _asked(turn: Turn) -> str:
    label = turn.ask.form.label if turn.ask else ""
    said = f"<p>{words(turn.said)}</p>" if turn.said else ""
    clips = "".join(f"<li>{words(name)}</li>" for name in turn.given)
    about = "".join(f"<p>{words(note)}</p>" for note in turn.about)
    more = f"<details><summary>What was read</summary>{about}</details>" if about else ""
    listed = f'<ul class="clips">{clips}</ul>' if clips else ""
    if not (said or listed or label):
        return ""
    return f'<div class="asked"><small>{words(label)}</small>{said}{listed}{more}</div>'


def _reply(turn: Turn, shown: str) -> str:
    if turn.state == WAITING:
        return '<div class="reply"><p class="busy">Waiting for the requests before this one</p></div>'
    if turn.state == WORKING:
        seconds = time.monotonic() - turn.began
        return (f'<div class="reply"><p class="busy">{words(turn.step)} · {seconds:.0f} s</p>'
                '<div class="bar"><i></i></div></div>')  # fmt: skip
    if turn.state in (FAILED, STOPPED):
        return f'<div class="reply" role="alert"><p>{words(turn.text)}</p></div>'
    said = f'<p class="text">{words(turn.text)}</p>' if turn.text else ""
    facts = f"<small>{words(turn.facts)}</small>"
    return f'<div class="reply">{said}{_pictures(turn, shown)}{facts}</div>'


def _pictures(turn: Turn, shown: str) -> str:
    """The motions of an answer; a click brings them onto the stage."""
    if not turn.key:
        return ""
    images = "".join(
        f'<img src="motions/{turn.key}/{number}/strip.svg" alt="" width="276" height="84">'
        for number in range(turn.samples)
    )
    now = ' aria-current="true"' if turn.key == shown else ""
    address = f"motions/{turn.key}/stage"
    return f'<a class="strips" href="{address}" target="stage" title="Show on the stage"{now}>{images}</a>'
