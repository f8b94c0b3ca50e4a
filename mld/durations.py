"""Lengths of time as people say them: "4 seconds", "four seconds", "two and a half seconds"."""

from __future__ import annotations

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip


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
