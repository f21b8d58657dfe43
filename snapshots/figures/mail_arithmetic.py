"""How the mails count: in K that are cut off before anything else is done with them, in words, in percent."""

from __future__ import annotations

from typing import Final

from snapshots.figures.figure import MailFigure
from snapshots.figures.inputs import KIB

WORDS: Final = ("No", "One", "Two", "Three", "Four")


def whole_kib(size_bytes: int) -> int:
    """Return how many K a mail says of so many bytes: the rest is dropped."""
    return size_bytes // KIB


def plain(printed: str, value: int) -> MailFigure:
    """Return a figure that the mail prints to the last digit."""
    return MailFigure(printed, str(value), value)


def with_kib(printed: str, value: int, word: str = "") -> MailFigure:
    """Return a figure that the mail prints twice: `17892 (17K)`."""
    return MailFigure(printed, f"{value} ({word}{whole_kib(value)}K)", value)


def in_kib(printed: str, kib: int) -> MailFigure:
    """Return a figure in K; its value is in bytes."""
    return MailFigure(printed, f"{kib}K", kib * KIB)


def in_bytes(printed: str, size_bytes: int) -> MailFigure:
    """Return a figure that the mail prints as `N bytes`."""
    return MailFigure(printed, f"{size_bytes} bytes", size_bytes)


def in_words(printed: str, number: int, what: str) -> MailFigure:
    """Return a figure that the mail has in words, at the head of a line: `One less memory reference`."""
    word = WORDS[number] if 0 <= number < len(WORDS) else str(number)
    return MailFigure(printed, f"{word} {what}", number)


def in_words_inside(printed: str, number: int, what: str) -> MailFigure:
    """Return the same in the midst of a sentence: `one mem ref less`."""
    figure = in_words(printed, number, what)
    return MailFigure(printed, figure.redone.lower(), number)
