"""How far a long piece of work is, on one line of the terminal that it leaves as it was.

32935/65870 (50%)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
CLEAR = "\r\x1b[K"


def percent_line(first_step: int = 0) -> Progress | None:
    """Return what tells step and goal on stderr; None where nobody looks at it."""
    if not sys.stderr.isatty():
        return None
    told = [-1]

    def tell(here: int, goal: int) -> None:
        percent = 100 * (here - first_step) // max(goal - first_step, 1)
        if percent != told[0]:
            told[0] = percent
            text = "" if here >= goal else f"{here}/{goal} ({percent}%)"
            sys.stderr.write(f"{CLEAR}{text}")
            sys.stderr.flush()

    return tell
