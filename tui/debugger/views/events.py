"""Events around the present, with the fields as the kernel prints them and where a log had them."""

from __future__ import annotations

from kernel_sim.events import EVENT_NAMES
from tui.debugger.births import input_of
from tui.debugger.event_text import event_fields
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

EVENTS_BEFORE = 20
EVENTS_AFTER = 10
PAST = ""
NOW = "now"
FUTURE = "later"

COLUMNS = (
    Column("when", help="now: of the present step; later: not yet happened"),
    Column("number", DEC, "goto #NUMBER leads there"),
    Column("step", DEC),
    Column("cpu", DEC),
    Column("event", help="tracepoint"),
    Column("line", DEC, "of the log it came from"),
    Column("task", help="who did it, as the log has it"),
    Column("fields", help="as the kernel prints them"),
)


def events_view(session: Session, before: int = EVENTS_BEFORE, after: int = EVENTS_AFTER) -> Table:
    """Return the last events up to now and the next ones."""
    index = session.event_index
    first, end = max(index - before, 0), min(index + after, session.nr_events)
    title = f"Events {first} to {end - 1} of {session.nr_events}, at step {session.step}"
    if first >= end:
        title = f"No events in this run, at step {session.step}"
    rows = tuple(event_row(session, number) for number in range(first, end))
    return Table(title, COLUMNS, rows)


def event_row(session: Session, number: int) -> tuple[Cell, ...]:
    """Return the row of one event by its number."""
    at = session.event(number)
    given = input_of(session.timeline, at)
    when = PAST if at.step < session.step else NOW if at.step == session.step else FUTURE
    return (
        when,
        number,
        at.step,
        at.cpu,
        EVENT_NAMES[type(at.event)],
        given.line or None if given else None,
        given.by or None if given else None,
        event_fields(at.event, session.machine.arch.word_bytes),
    )
