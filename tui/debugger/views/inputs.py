"""Inputs around the present: what was given to the machine, when, and where a log had it."""

from __future__ import annotations

from tui.debugger.event_text import argument_text
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

INPUTS_BEFORE = 20
INPUTS_AFTER = 10

COLUMNS = (
    Column("when", help="later: not yet given"),
    Column("number", DEC, "as drop, move and alter take it"),
    Column("step", DEC, "at which it was given"),
    Column("cpu", DEC),
    Column("input", help="a call, or a knob of the machine"),
    Column("arguments"),
    Column("line", DEC, "of the log"),
    Column("task"),
)


def inputs_view(session: Session, before: int = INPUTS_BEFORE, after: int = INPUTS_AFTER) -> Table:
    """Return the last inputs given before now and the next ones."""
    timeline = session.timeline
    index = timeline.inputs_before(session.step)
    first, end = max(index - before, 0), min(index + after, timeline.nr_inputs)
    rows: list[tuple[Cell, ...]] = []
    for number in range(first, end):
        given = timeline.input_at(number)
        rows.append(
            (
                "" if number < index else "later",
                number,
                given.step,
                given.cpu,
                given.do,
                " ".join(argument_text(arg) for arg in given.args),
                given.line or None,
                given.by or None,
            )
        )
    title = f"Inputs {first} to {end - 1} of {timeline.nr_inputs}, at step {session.step}"
    if first >= end:
        title = f"No inputs in this run, at step {session.step}"
    return Table(title, COLUMNS, tuple(rows))
