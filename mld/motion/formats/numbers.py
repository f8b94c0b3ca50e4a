"""Numbers as text, whole arrays at a time: what makes BVH and AMC files fast to read and write."""

from __future__ import annotations

import warnings

import numpy as np


def parse_numbers(text: bytes) -> np.ndarray:
    """All numbers (N,) float64 of text separated by blanks and line ends; ValueError when there is anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy 1.26 only warns of text that is no number
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from error


def to_number(word: str | bytes) -> float:
    """One number as text, as `parse_numbers` takes it: ValueError also for what only Python takes ("1_0", "٣")."""
    if not word.isascii() or ("_" in word if isinstance(word, str) else b"_" in word):
        raise ValueError("not a number")
    return float(word)


def line_at(text: bytes, offset: int) -> int:
    """The number of the line, from 1, in which a byte of the text lies."""
    return text.count(b"\n", 0, offset) + 1


def words_per_line(text: bytes) -> np.ndarray:
    """How many words each line (N,) has that is not blank."""
    letters = np.frombuffer(text, dtype=np.uint8)
    begins = letters > ord(" ")
    begins[1:] &= letters[:-1] <= ord(" ")
    lines = np.concatenate([[0], np.flatnonzero(letters[:-1] == ord("\n")) + 1])
    counts = np.add.reduceat(begins, lines, dtype=np.int32)
    return counts[counts > 0]


def format_numbers(table: np.ndarray, decimals: int = 6) -> bytes:
    """The rows of a table (R, C), a line each: fixed point with `decimals` places, columns of one width, one blank
    between. Raises ValueError for NaN, infinity, or numbers too large to be written exactly (2**63 units of the last
    place).
    """
    table = np.asarray(table, dtype=np.float64)
    rows, columns = table.shape
    units = np.round(table * 10.0**decimals)
    if not (np.abs(units) < 2.0**63).all():
        raise ValueError("a number is not finite or too large to be written")
    magnitude = np.abs(units).astype(np.uint64)
    digits = max(len(str(int(magnitude.max(initial=0)))), decimals + 1)
    magnitude = magnitude.astype(np.uint32) if digits < 10 else magnitude
    width = digits + 3  # blank, sign, point
    text = np.full((rows, columns, width), ord(" "), dtype=np.uint8)
    whole = digits - decimals
    rest = magnitude
    for place in range(digits):
        at = width - 1 - place - (place >= decimals)
        quotient = rest // 10
        digit = (rest - quotient * 10).astype(np.uint8) + ord("0")
        text[..., at] = digit if place <= decimals else np.where(rest > 0, digit, ord(" "))
        rest = quotient
    text[..., 2 + whole] = ord(".")
    _put_signs(text, units < 0, magnitude, decimals)
    text[:, 0, 0] = ord("\n")
    return text.reshape(-1)[1:].tobytes() + b"\n" if rows and columns else b""


def _put_signs(text: np.ndarray, negative: np.ndarray, magnitude: np.ndarray, decimals: int) -> None:
    """A minus right before the first digit of every negative number."""
    where = np.nonzero(negative)
    width = text.shape[-1]
    powers = np.uint64(10) ** np.arange(1, 19, dtype=np.uint64)
    digits = 1 + np.searchsorted(powers, magnitude[where].astype(np.uint64), side="right")
    length = np.maximum(digits, decimals + 1) + 1
    text[where + (width - length - 1,)] = ord("-")
