"""What a log does not say and had to be worked out to explain its lines."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

COLUMNS = (
    Column("line", DEC, "of the log"),
    Column("kind", help="what was assumed"),
    Column("distance", DEC, "lines from where the log alone would have it"),
    Column("text"),
)


def inferred_view(session: Session) -> Table:
    """Return a row for every assumption about the log; none for a run without one."""
    rows = tuple(row_of(entry, len(COLUMNS)) for entry in session.origin.inferred)
    title = f"{len(rows)} things that the log does not say were inferred"
    return Table(title, COLUMNS, rows, tuple(session.origin.notes))


def row_of(entry: object, nr_cells: int) -> tuple[Cell, ...]:
    """Return so many cells of an entry of a file; what is no cell reads as text."""
    cells = list(entry[:nr_cells]) if isinstance(entry, list | tuple) else [entry]
    cells += [None] * (nr_cells - len(cells))
    return tuple(
        cell if cell is None or isinstance(cell, int | str) else str(cell) for cell in cells
    )
