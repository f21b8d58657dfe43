"""A system's column of the compare screen: its name, its map, its figures.

╭ block-2005 ─────────────╮
│ cpu 0   8K █▓█▓▓░░░░░░  │   the map that the system has on the desk too
│ cpu 1   8K █▓█▓▓░░░░░░  │
│ done in 8 steps         │   what became of the operation
│ asked           651,812 │   bytes at this position
╰─────────────────────────╯
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from snapshots.compare.side_by_side import DONE, SideBySide
from snapshots.compare.system_run import SystemRun
from tui.debugger.session import Session
from tui.debugger.views.side_by_side import (
    BYTE_FIGURES,
    NOT_DONE,
    Figure,
    column_figures,
    outcome_text,
)
from tui.messages import MapLaidOut, PlaceNamed
from tui.panes.cell_map import CellMap
from tui.panes.chunk_map import ChunkMap
from tui.panes.stretch_map import StretchMap


class PlaceTold(Message):
    """What is under the cursor, or the mouse, of a column's map, in words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class FigureLines(Widget):
    """The outcome of the operation, and figures, a line each; what differs from the last stop stands out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rows--{name}" for name in ("text", "heading", "changed", "warn")
    }

    def __init__(self) -> None:
        super().__init__(classes="figures")
        self.outcome = ""
        self.is_good = True
        self.figures: list[Figure] = []
        self.before: dict[str, object] = {}

    def show(self, outcome: str, is_good: bool, figures: list[Figure]) -> None:
        """Show these."""
        self.before = dict(self.figures)
        self.outcome, self.is_good, self.figures = outcome, is_good, figures
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return the outcome, or a figure."""
        width = self.size.width
        if y == 0:
            style = self._style("text" if self.is_good else "warn")
            return Strip([Segment(f" {self.outcome}", style)]).adjust_cell_length(width, style)
        if y > len(self.figures):
            return Strip.blank(width, self._style("text"))
        name, value = self.figures[y - 1]
        text = f"{value:,}" if isinstance(value, int) else str(value)
        text += " B" * (name in BYTE_FIGURES)
        changed = name in self.before and self.before[name] != value
        base = self._style("text")
        ink = base + self._style("changed") if changed else base
        if name == NOT_DONE and value:
            ink = base + self._style("warn")
        room = max(width - len(name) - 2, 0)
        pieces = [Segment(f" {name}", self._style("heading")), Segment(f"{text:>{room}} ", ink)]
        return Strip(pieces).adjust_cell_length(width, base)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"rows--{name}")


class CompareColumn(Vertical):
    """One system at the common position."""

    def __init__(self, side: SideBySide, run: SystemRun) -> None:
        super().__init__(classes="pane column")
        self.side = side
        self.run = run
        session = Session(run.timeline, name=run.label)
        has_chunks = run.machine.bitmap is not None
        self.map: CellMap = ChunkMap(session) if has_chunks else StretchMap(session)
        self.figures = FigureLines()
        self.border_title = run.label
        self.border_subtitle = run.title

    def compose(self) -> ComposeResult:
        """The map above, figures beneath."""
        yield self.map
        yield self.figures

    def on_place_named(self, message: PlaceNamed) -> None:
        """Tell what is there."""
        message.stop()
        place = message.place or self.map.place
        if place is not None:
            self.post_message(PlaceTold(f"{self.run.label}: {self.map.describe(place)}"))

    def on_map_laid_out(self, message: MapLaidOut) -> None:
        """Keep it from the desk beneath."""
        message.stop()

    def shows(self, keep_before: bool) -> Generator[None, None, None]:
        """Show the present position, in slices. keep_before: mark what differs from the last stop."""
        self.map.show(keep_before)
        yield
        total: Counter[str] = yield from self.side.totals(self.run)
        outcome = self.side.outcome(self.run)
        is_good = outcome.what == DONE or not outcome.reason
        figures = column_figures(self.side, self.run, total)
        self.figures.show(outcome_text(self.side, self.run), is_good, figures)
