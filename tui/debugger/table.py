"""What every listing is: frozen rows under named columns. Console, --json and panes show the same table.

A view is one pure function from a session to a Table. Cells are plain values; how a value reads as text
is the column's business, so that JSON keeps numbers and a screen shows 0xffff888000000000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Cell: TypeAlias = int | str | bool | None

TEXT = "text"
DEC = "dec"
HEX = "hex"
FLAG = "flag"


def count(number: int, noun: str) -> str:
    """Return `1 area`, `2 areas`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Column:
    """A named column; kind is one of TEXT, DEC, HEX, FLAG and says how a cell reads."""

    name: str
    kind: str = TEXT
    help: str = ""

    def text_of(self, cell: Cell) -> str:
        """Return a cell as it reads on a screen; None is blank."""
        if cell is None:
            return ""
        if self.kind == FLAG or isinstance(cell, bool):
            return "yes" if cell else "no"
        if self.kind == HEX and isinstance(cell, int):
            return f"{cell:#x}"
        return str(cell)


@dataclass(frozen=True, slots=True)
class Table:
    """A listing: title, columns, rows of as many cells, and lines to say beneath."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as builtin types: a list of objects by column name."""
        names = [column.name for column in self.columns]
        return {
            "title": self.title,
            "rows": [dict(zip(names, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }
