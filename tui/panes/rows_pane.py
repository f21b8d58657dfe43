"""A list of rows under a fixed heading, drawn line by line: only the rows in the window are ever made.

Who derives from it says how many rows there are and what each consists of. The cursor is shown while the
pane has the keys; Enter or a click chooses its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

STYLES = ("text", "heading", "dim", "changed", "present", "later", "cursor", "note", "warn", "mark")
OVERLAYS = ("dim", "changed", "cursor", "warn", "mark")  # laid over a row, which keeps its ground
Piece = tuple[str, str]  # text and style name


class RowsPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows with a heading line that stays."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move_page(-1)", show=False),
        Binding("pagedown", "move_page(1)", show=False),
        Binding("h", "sideways(-8)", show=False),
        Binding("l", "sideways(8)", show=False),
        Binding("enter", "choose", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{name}" for name in STYLES}

    def __init__(self, *, id: str, title: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = title
        self.cursor = 0
        self._styles: dict[str, Style] = {}

    # -- what derived panes say --------------------------------------------------------------------

    def nr_rows(self) -> int:
        """Return how many rows there are."""
        return 0

    def heading(self) -> str:
        """Return the line that stays at the top."""
        return ""

    def row(self, number: int) -> tuple[str, Sequence[Piece]]:
        """Return the style of a row as a whole and its pieces."""
        return "text", ()

    def chosen(self, number: int) -> None:
        """Tell the app that a row was chosen."""

    def width_cells(self) -> int:
        """Return how wide the widest row is."""
        return self.size.width

    # -- drawing -----------------------------------------------------------------------------------

    def rows_changed(self) -> None:
        """Take over that there are other rows now."""
        nr_rows = self.nr_rows()
        self.cursor = min(self.cursor, max(nr_rows - 1, 0))
        self.virtual_size = Size(max(self.width_cells(), 1), nr_rows + 1)
        self.refresh()

    def notify_style_update(self) -> None:
        """Forget styles when the look changes."""
        super().notify_style_update()
        self._styles.clear()

    def style_of(self, name: str) -> Style:
        """Return the style that the stylesheet gives a name."""
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self.get_component_rich_style(
                f"rows--{name}", partial=name in OVERLAYS
            )
        return style

    def render_line(self, y: int) -> Strip:
        """Return the heading, or a row of the window."""
        width = self.size.width
        left, top = self.scroll_offset
        if y == 0:
            style = self.style_of("heading")
            return self._cut([Segment(self.heading(), style)], left, width, style)
        number = top + y - 1
        if not 0 <= number < self.nr_rows():
            return Strip.blank(width, self.style_of("text"))
        row_style, pieces = self.row(number)
        base = self.style_of(row_style)
        if number == self.cursor and self.has_focus:
            base += self.style_of("cursor")
        segments = [
            Segment(text, base + self.style_of(name) if name else base) for text, name in pieces
        ]
        return self._cut(segments, left, width, base)

    def _cut(self, segments: list[Segment], left: int, width: int, style: Style) -> Strip:
        return Strip(segments).crop_extend(left, left + width, style)

    # -- the cursor --------------------------------------------------------------------------------

    def show_row(self, number: int) -> None:
        """Bring a row into the window."""
        height = max(self.size.height - 1, 1)
        top = self.scroll_offset.y
        if number < top:
            self.scroll_to(y=number, animate=False, force=True)
        elif number >= top + height:
            self.scroll_to(y=number - height + 1, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.cursor = min(max(self.cursor + rows, 0), max(self.nr_rows() - 1, 0))
        self.show_row(self.cursor)
        self.refresh()

    def action_move_page(self, way: int) -> None:
        """Move the cursor by a window."""
        self.action_move(way * max(self.size.height - 2, 1))

    def action_sideways(self, columns: int) -> None:
        """Show what is farther left or right."""
        self.scroll_to(x=max(self.scroll_offset.x + columns, 0), animate=False, force=True)

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        if self.cursor < self.nr_rows():
            self.chosen(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Choose the row under the mouse."""
        offset = event.get_content_offset(self)
        number = self.scroll_offset.y + offset.y - 1 if offset is not None else -1
        if offset is not None and offset.y > 0 and 0 <= number < self.nr_rows():
            self.cursor = number
            self.refresh()
            self.chosen(number)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()
