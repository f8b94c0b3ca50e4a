"""Lengths of time as people say them, said and read: "4 seconds", "four seconds", "two and a half seconds"."""

from __future__ import annotations

import re

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_NUMBER = rf"\d+(?:\.\d+)?|(?:{'|'.join(NUMBERS)})(?: and a half)?|half a"
_PHRASE = re.compile(rf"(?<![\w.,])({_NUMBER})[ -](?:seconds?|secs?)\b", re.IGNORECASE)
_AT_THE_END = re.compile(
    rf"\S.* (for|in) (?:about |exactly |around )?({_NUMBER}) (?:seconds?|secs?)\s*[.!]?", re.IGNORECASE
)
# Words that part a sentence into actions, of which the phrase may be about the last alone.
_PARTS = re.compile(
    r"\b(and|then|after|afterwards|before|until|till|first|next|finally|followed|but)\b|[,;:.!?]\s", re.IGNORECASE
)
_ONE_ACTION = re.compile(r"\b(up and down|back and forth|left and right|arms and legs|and a half)\b", re.IGNORECASE)
_DELAYED = re.compile(r"\b(start|begin|stop|wait|paus)\w*", re.IGNORECASE)  # "starts to run in 3 seconds"


def spoken(seconds: float, words: bool = False) -> str:
    """Seconds to the nearest half, at least one half, in digits or in words as far as those go."""
    halves = max(int(2 * seconds + 0.5), 1)
    whole, half = divmod(halves, 2)
    if not words or whole >= len(NUMBERS):
        number = f"{halves / 2:g}"
    elif not whole:
        return "half a second"
    else:
        number = NUMBERS[whole] + (" and a half" if half else "")
    return f"{number} {'second' if halves == 2 else 'seconds'}"


def told(text: str) -> float | None:
    """The seconds that a text ends with, as in "walks forward for four seconds" or "sits down in 2.5 seconds".

    None where it says nothing of the kind, or where the phrase may be about a part of the motion: of several lengths
    or actions, or a moment at which something starts."""
    text = " ".join(text.split())
    found = _AT_THE_END.fullmatch(text)
    if found is None or len(_PHRASE.findall(text)) != 1:
        return None
    if _PARTS.search(_ONE_ACTION.sub(" ", text)) or found[1].lower() == "in" and _DELAYED.search(text):
        return None
    return _seconds(found[2].lower()) or None


def _seconds(number: str) -> float:
    if number[0].isdigit():
        return float(number)
    whole, half = number.removesuffix(" and a half"), number.endswith("half") or number == "half a"
    return (0 if whole == "half a" else NUMBERS.index(whole)) + 0.5 * half
