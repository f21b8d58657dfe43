"""Reading a table by the names of its columns."""

from __future__ import annotations

from tui.debugger.table import Cell, Table


def column(table: Table, name: str) -> list[Cell]:
    """Return the cells of one column, from the top."""
    index = [each.name for each in table.columns].index(name)
    return [row[index] for row in table.rows]
