"""The time scrubber: the whole run in one line, with what is worth a jump marked on it.

     1234/5678  21%  ━━━━━▲━━━━━●───▲──!──▼──────
                     past       │   marks: ▲ chunk made  ▼ chunk destroyed  ! allocation failed
                                here

A column stands for an equal share of the steps. Where several marks meet the rarer kind is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snapshots.segment import Mark

PAST, FUTURE, HERE, CREATE, DESTROY, FAIL, GOAL = range(7)
GLYPHS = {PAST: "━", FUTURE: "─", HERE: "●", CREATE: "▲", DESTROY: "▼", FAIL: "!", GOAL: "◌"}
CODE_OF_MARK = {"c": CREATE, "d": DESTROY, "f": FAIL}


def column_of(step: int, first_step: int, end_step: int, width: int) -> int:
    """Return the column in which a step lies."""
    if end_step <= first_step or width <= 1:
        return 0
    share = (step - first_step) * (width - 1) // (end_step - first_step)
    return min(max(share, 0), width - 1)


def step_at(column: int, first_step: int, end_step: int, width: int) -> int:
    """Return the step to which a column leads: the last column means the end."""
    if width <= 1:
        return first_step
    column = min(max(column, 0), width - 1)
    return first_step + -(-(end_step - first_step) * column // (width - 1))


def mark_columns(
    marks: Iterable[Mark], first_step: int, end_step: int, width: int
) -> dict[int, int]:
    """Return the code to show in each column that has a mark."""
    found: dict[int, int] = {}
    for mark in marks:
        code = CODE_OF_MARK[mark.kind]
        column = column_of(mark.step, first_step, end_step, width)
        if code > found.get(column, 0):
            found[column] = code
    return found


def scrubber_codes(
    step: int,
    first_step: int,
    end_step: int,
    width: int,
    marks: Mapping[int, int],
    goal: int | None = None,
) -> bytes:
    """Return a code for each column. goal: where a move that is under way leads."""
    here = column_of(step, first_step, end_step, width)
    codes = bytearray([PAST]) * here + bytearray([FUTURE]) * (width - here)
    for column, code in marks.items():
        codes[column] = code
    if goal is not None:
        codes[column_of(goal, first_step, end_step, width)] = GOAL
    codes[here] = HERE
    return bytes(codes)
