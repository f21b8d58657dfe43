"""A place on the timeline, as people type it.

1234     that step            +10 -10   from here          start end
50%      of the way           #17       event 17           @name   a bookmark
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tui.debugger.errors import CommandError

EXPECTED = "expected a step, 50%, +10, -10, #event, @bookmark, start or end"


class Line(Protocol):
    """What a position is resolved against."""

    @property
    def first_step(self) -> int:
        """The first step there is."""

    @property
    def end_step(self) -> int:
        """The last one."""

    @property
    def step(self) -> int:
        """The present one."""

    def event_step(self, number: int) -> int | None:
        """Step at which an event happened, None if there is no such event."""


def parse_position(text: str, line: Line, bookmarks: Mapping[str, int] | None = None) -> int:
    """Return the step that a text means. Raises CommandError for anything else, or out of range."""
    text = text.strip()
    step = _step_of(text, line, bookmarks or {})
    if step is None:
        raise CommandError(f"{text!r} is no position: {EXPECTED}")
    if not line.first_step <= step <= line.end_step:
        raise CommandError(
            f"{text}: step {step} is not in this recording: expected {line.first_step} to {line.end_step}"
        )
    return step


def _step_of(text: str, line: Line, bookmarks: Mapping[str, int]) -> int | None:
    if text in ("start", "end"):
        return line.first_step if text == "start" else line.end_step
    if text.startswith("@"):
        return bookmarks.get(text[1:])
    if text[:1] in ("+", "-") and is_number(text[1:]):
        return line.step + int(text)
    if text.startswith("#") and is_number(text[1:]):
        return line.event_step(int(text[1:]))
    if text.endswith("%"):
        return _share(text[:-1], line)
    return int(text) if is_number(text) else None


def is_number(text: str) -> bool:
    """Say whether the text is a short row of ASCII digits; int() takes much more."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def _share(text: str, line: Line) -> int | None:
    whole, _, rest = text.partition(".")
    if not is_number(whole) or (rest and not is_number(rest)):
        return None
    per: int = 10 ** len(rest)
    share = int(whole) * per + int(rest or "0")
    return line.first_step + (line.end_step - line.first_step) * share // (100 * per)
