"""The offer before the screen opens: sessions that died, one of which may be gone on with.

Enter goes on with the one under the cursor, d discards it, Esc opens what was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Static

from snapshots.journal_folder import DeadSession
from tui.debugger.table import count
from tui.theme import DARK, DARK_NAME, LIGHT

HINT = "Enter goes on with it  d d discards it  Esc opens your file  q leaves"
SOURCE_CHARS = 34
QUIT = 1


class RecoverApp(App[DeadSession]):
    """Exits with the session to go on with, None for none; return code 1: leave altogether."""

    CSS_PATH = "kmemscope.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "kmemscope"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "none", show=False),
        Binding("q", "leave", show=False),
        Binding("d", "discard", show=False),
    ]

    def __init__(self, rows: list[DeadSession], discard: Callable[[DeadSession], None]) -> None:
        super().__init__()
        self.rows = rows
        self.discard = discard
        self.asked_for: DeadSession | None = None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK_NAME

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return colours for looks that are not ours."""
        return DARK.variables

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        box = Vertical(id="recover")
        box.border_title = "Sessions that died, or left work unsaved"
        with box:
            table: DataTable[str] = DataTable(id="recover-table", cursor_type="row")
            yield table
            yield Static(HINT, id="recover-hint", markup=False)

    def on_mount(self) -> None:
        """Fill the table."""
        self._fill()

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        table.clear(columns=True)
        table.add_columns("when", "what", "step", "unsaved")
        for row in self.rows:
            place = row.place
            if place is not None:
                what = (place.source.rpartition("/")[2] or place.name)[:SOURCE_CHARS]
                lost = count(place.nr_unsaved, "input") if place.nr_unsaved else "names, bookmarks"
                when = time.strftime("%m-%d %H:%M", time.localtime(row.last_s))
                at = f"{place.step}/{place.end_step}"
                table.add_row(when, what, at, lost if place.is_unsaved else "nothing")
        table.focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Go on with a session."""
        self.exit(self.rows[event.cursor_row])

    def action_none(self) -> None:
        """Open what was asked for."""
        self.exit(None)

    def action_leave(self) -> None:
        """Leave altogether."""
        self.exit(None, return_code=QUIT)

    def action_discard(self) -> None:
        """Discard the session under the cursor, if that was asked for twice."""
        row = self.rows[self.query_one(DataTable).cursor_row]
        if self.asked_for is not row:
            self.asked_for = row
            self.query_one("#recover-hint", Static).update("d again throws it away for good")
            return
        self.discard(row)
        self.rows.remove(row)
        self.asked_for = None
        self.query_one("#recover-hint", Static).update(HINT)
        if self.rows:
            self._fill()
        else:
            self.exit(None)
