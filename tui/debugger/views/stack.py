"""The kernel call stack of one CPU, innermost function first, interrupted calls below."""

from __future__ import annotations

from tui.debugger.errors import CommandError
from tui.debugger.event_text import argument_text
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table, count
from tui.debugger.views.cpus import waits_for

COLUMNS = (
    Column("depth", DEC),
    Column("function"),
    Column("call", DEC, "0 runs; 1 and up were interrupted"),
    Column("context"),
    Column("arguments", help="of the call, beside its outermost function"),
)


def stack_view(session: Session, cpu: int) -> Table:
    """Return a row for every kernel function under way. Raises CommandError: no such CPU."""
    owner = session.machine.cpus.get(cpu)
    if owner is None:
        last = max(session.machine.cpus)
        raise CommandError(f"there is no CPU {cpu}: expected a possible CPU, 0 to {last}")
    rows: list[tuple[Cell, ...]] = []
    for number, call in enumerate(reversed(owner.stack)):
        frames = call.frames() or (call.name,)
        for frame in frames[:-1]:
            rows.append((len(rows), frame, number, call.context, ""))
        arguments = ", ".join(argument_text(arg) for arg in call.args)
        rows.append((len(rows), frames[-1], number, call.context, arguments))
    notes: list[str] = []
    waits = waits_for(owner)
    if waits:
        notes.append(f"waits: {waits}")
    if owner.pending:
        notes.append("next in line: " + ", ".join(call.name for call in owner.pending))
    state = "idle" if not rows else f"{count(len(rows), 'function')} deep"
    title = f"CPU {cpu} at step {session.step}: {state}"
    return Table(title, COLUMNS, tuple(rows), tuple(notes))
