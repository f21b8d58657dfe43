"""The kernel log up to the present."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("number", DEC),
    Column("level", DEC, "4 warning, 6 information, 7 debugging"),
    Column("text"),
)


def log_view(session: Session) -> Table:
    """Return a row for every line the kernel printed so far."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (number, level, text) for number, (level, text) in enumerate(session.machine.kernel_log)
    )
    return Table(f"{len(rows)} lines of kernel log at step {session.step}", COLUMNS, rows)


def log_lines(session: Session) -> tuple[str, ...]:
    """Return the log as the kernel keeps it, `<level>text` a line."""
    return tuple(f"<{level}>{text}" for level, text in session.machine.kernel_log)
