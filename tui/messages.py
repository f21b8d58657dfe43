"""What panes tell the app: a wish of the person at the keyboard, never a thing done."""

from __future__ import annotations

from textual.message import Message

from tui.debugger.table import Cell
from tui.debugger.views.chunk_map import MapLayout, Place
from tui.debugger.views.strip_layout import StripLayout, StripPlace


class StepWished(Message):
    """Go to a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step


class PlaceNamed(Message):
    """The map's cursor, or the mouse over it, stands on another cell."""

    def __init__(self, place: Place | StripPlace | None, by_mouse: bool, note: str = "") -> None:
        super().__init__()
        self.place = place
        self.by_mouse = by_mouse
        self.note = note  # to be said instead of what the cell is


class MapLaidOut(Message):
    """The lines of the map are other ones now; gutter: columns before the cells."""

    def __init__(self, layout: MapLayout | StripLayout, gutter: int) -> None:
        super().__init__()
        self.layout = layout
        self.gutter = gutter


class DeskResized(Message):
    """Other panes than before may be on the screen."""


class RowChosen(Message):
    """A row of a listing was chosen; cells by column name."""

    def __init__(self, pane_id: str, cells: dict[str, Cell]) -> None:
        super().__init__()
        self.pane_id = pane_id
        self.cells = cells


class TabChosen(Message):
    """A listing was chosen on the tab line, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
