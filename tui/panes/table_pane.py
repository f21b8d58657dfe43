"""Any listing of the debugger on the screen: the Table that the console prints, as rows of a pane.

Columns in which no row has anything are left out, and those that were asked for come first. What differs
from the table shown before, row by row of the same first cell, is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Table
from tui.messages import RowChosen
from tui.panes.lines import broken
from tui.panes.rows_pane import Piece, RowsPane

OPTIONAL = ("line", "task")  # columns that only a log fills
NOTE_LINES_MAX = 4
NOTE_COLUMNS_MIN = 20
SCROLLBAR_COLUMNS = 1
SHORT_FLAGS = {"PRESENT": "P", "ACCESSED": "A", "DIRTY": "D", "GLOBAL": "G", "PSE": "PS"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A view and how a pane shows it: first says which columns come first, only leaves out the rest."""

    name: str
    view: Callable[[Session], Table]
    first: tuple[str, ...] = ()
    only: bool = False
    headings: dict[str, str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)  # at least; so that columns stay in place
    is_slow: bool = False
    gap: str = "  "


class TablePane(RowsPane):
    """One listing at a time."""

    def __init__(self, *, id: str, title: str) -> None:
        super().__init__(id=id, title=title)
        self.listing_name = ""
        self.table: Table | None = None
        self._rows: tuple[tuple[Cell, ...], ...] = ()
        self._before: Sequence[tuple[Cell, ...] | None] = ()
        self._columns: list[int] = []
        self._widths: list[int] = []
        self._headings: list[str] = []
        self._notes: list[str] = []
        self._gap = "  "

    def show_table(self, table: Table, listing: Listing, *, mark: bool = True) -> None:
        """Show a table; mark: show what differs from the one before."""
        old = self.table if mark and listing.name == self.listing_name else None
        self.table = table
        if listing.name != self.listing_name:
            self.cursor = 0
            self.scroll_to(0, 0, animate=False, force=True)
        self.listing_name = listing.name
        self._gap = listing.gap
        self._columns = _columns_of(table, listing)
        self._headings = [
            listing.headings.get(table.columns[at].name, table.columns[at].name.replace("_", " "))
            for at in self._columns
        ]
        self._rows = table.rows
        self._widths = [
            max(len(heading), listing.widths.get(table.columns[at].name, 0), _width(table, at))
            for at, heading in zip(self._columns, self._headings, strict=True)
        ]
        self._before = _rows_before(table, old)
        self._break_notes()
        self.rows_changed()

    def on_resize(self) -> None:
        """Break the notes for the new width."""
        self._break_notes()
        self.rows_changed()

    def _break_notes(self) -> None:
        width = max(self.size.width - SCROLLBAR_COLUMNS, NOTE_COLUMNS_MIN)
        notes = self.table.notes if self.table is not None else ()
        self._notes = [line for note in notes for line in broken(note, width, NOTE_LINES_MAX)]

    def nr_rows(self) -> int:
        """Return the rows and the notes beneath them."""
        return len(self._rows) + len(self._notes)

    def heading(self) -> str:
        """Return the names of the columns; one that is cut off at the edge ends in ›."""
        if not self._rows:
            return ""
        edge = self.scroll_offset.x + self.scrollable_size.width
        shown: list[str] = []
        begin = 0
        for at, (text, width) in enumerate(zip(self._headings, self._widths, strict=True)):
            room = edge - begin
            aligned = self._aligned(at, text)
            is_cut = len(aligned.rstrip()) > room > 0
            shown.append(f"{text[: room - 1]}›".ljust(width) if is_cut else aligned)
            begin += width + len(self._gap)
        return self._gap.join(shown)

    def width_cells(self) -> int:
        """Return how wide a row is; notes are cut, not scrolled to."""
        return sum(self._widths) + len(self._gap) * max(len(self._widths) - 1, 0)

    def row(self, number: int) -> tuple[str, Sequence[Piece]]:
        """Return a row of the table, or a note."""
        if self.table is None:
            return "text", ()
        if number >= len(self._rows):
            return "note", ((self._notes[number - len(self._rows)], ""),)
        pieces: list[Piece] = []
        cells = self._rows[number]
        was = self._before[number] if self._before else cells
        edge = self.scroll_offset.x + self.scrollable_size.width
        end = 0
        for at, column in enumerate(self._columns):
            end += self._widths[at]
            # Half a number is another number: one that is cut off is not shown at all.
            shown = self._aligned(at, _text(self.table, column, cells[column]))
            excess = end - edge
            if excess > 0 and self._is_number(at):
                shown = "›".ljust(self._widths[at])
            elif excess > 0 and len(shown.rstrip()) > self._widths[at] - excess > 0:
                shown = shown[: self._widths[at] - excess - 1] + "›"
            is_new = was is None or was[column] != cells[column]
            pieces.append((shown, "changed" if is_new else ""))
            pieces.append((self._gap if at + 1 < len(self._columns) else "", ""))
            end += len(self._gap)
        return "text", pieces

    def is_marked(self, number: int) -> bool:
        """Say whether a row is not as it was when the pane was shown last."""
        return bool(self._before) and self._before[number] != self._rows[number]

    def _is_number(self, at: int) -> bool:
        return self.table is not None and self.table.columns[self._columns[at]].kind in (DEC, HEX)

    def _aligned(self, at: int, text: str) -> str:
        if self._is_number(at):
            return text.rjust(self._widths[at])
        return text.ljust(self._widths[at])

    def chosen(self, number: int) -> None:
        """Hand the row's cells to the app."""
        if self.table is not None and number < len(self.table.rows):
            names = [column.name for column in self.table.columns]
            cells = dict(zip(names, self.table.rows[number], strict=True))
            self.post_message(RowChosen(self.listing_name, cells))


def _columns_of(table: Table, listing: Listing) -> list[int]:
    """Return which columns are shown, in order."""
    names = [column.name for column in table.columns]
    order = [names.index(name) for name in listing.first if name in names]
    if not listing.only:
        order += [at for at in range(len(names)) if at not in order]
    return [
        at for at in order
        if names[at] not in OPTIONAL or any(row[at] is not None for row in table.rows)
    ]  # fmt: skip


def _text(table: Table, at: int, cell: Cell) -> str:
    column = table.columns[at]
    text = column.text_of(cell)
    if column.name == "flags":
        return " ".join(SHORT_FLAGS.get(word, word) for word in text.split())
    return text


def _width(table: Table, at: int) -> int:
    """Return the width of a column; numbers are as wide as the largest of them."""
    column = table.columns[at]
    cells = [row[at] for row in table.rows if row[at] is not None]
    numbers = [cell for cell in cells if isinstance(cell, int)]
    if column.name != "flags" and len(numbers) == len(cells) and numbers:
        cells = [max(numbers), min(numbers)]
    return max((len(_text(table, at, cell)) for cell in cells), default=0)


def _rows_before(table: Table, old: Table | None) -> Sequence[tuple[Cell, ...] | None]:
    """Return for every row what it was, None for a new one; nothing if the tables do not compare."""
    if old is None or not old.rows or old.columns != table.columns:
        return ()
    if len(old.rows) == len(table.rows):
        return old.rows
    before = {row[0]: row for row in old.rows}
    if len(before) < len(old.rows):
        return ()
    return [before.get(row[0]) for row in table.rows]
