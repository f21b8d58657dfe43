"""The time scrubber: where the present lies in the run; a click goes there."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widget import Widget

from tui.debugger.session import Session
from tui.debugger.views.chunk_map import runs
from tui.debugger.views.scrubber import (
    CREATE,
    DESTROY,
    FAIL,
    FUTURE,
    GLYPHS,
    GOAL,
    HERE,
    PAST,
    mark_columns,
    scrubber_codes,
    step_at,
)
from tui.messages import StepWished

STYLES = {
    PAST: "past", FUTURE: "future", HERE: "here", CREATE: "create", DESTROY: "destroy",
    FAIL: "fail", GOAL: "goal",
}  # fmt: skip


class TimeScrubber(Widget, can_focus=True):
    """One line: step, share, bar."""

    HELP = "The whole run in one line: ▲ a chunk was made, ▼ destroyed, ! an allocation failed. Click to go."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,left", "app.step(-1)", show=False),
        Binding("l,right", "app.step(1)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"scrubber--{name}" for name in (*STYLES.values(), "text", "note")
    }

    def __init__(self, session: Session) -> None:
        super().__init__(id="scrubber")
        self.session = session
        self.goal: int | None = None
        self.note = ""
        self.here = session.step
        self._marks_key: tuple[object, ...] = ()
        self._marks: dict[int, int] = {}

    def show(self, here: int, goal: int | None = None, note: str = "") -> None:
        """Show a position, and while a move is under way where it leads."""
        self.here, self.goal, self.note = here, goal, note
        self.refresh()

    def _label(self) -> str:
        session = self.session
        length = session.end_step - session.first_step
        share = 100 * (self.here - session.first_step) // length if length else 100
        width = len(str(session.end_step))
        several = len(session.tree.branches) > 1
        branch = f" {session.tree.current.name:.16}" if several else ""
        return f"{branch} {self.here:>{width}}/{session.end_step} ({share}%)".ljust(
            len(branch) + 2 * width + 10
        )

    def _bar_width(self) -> int:
        return max(self.size.width - len(self._label()) - len(self.note) - 1, 8)

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        session = self.session
        width = self._bar_width()
        key = (session.timeline, session.end_step, session.nr_events, width)
        if key != self._marks_key:
            self._marks_key = key
            self._marks = mark_columns(session.marks, session.first_step, session.end_step, width)
        codes = scrubber_codes(
            self.here, session.first_step, session.end_step, width, self._marks, self.goal
        )
        segments = [Segment(self._label(), self.get_component_rich_style("scrubber--text"))]
        for start, end, code in runs(codes):
            style = self.get_component_rich_style(f"scrubber--{STYLES[code]}")
            segments.append(Segment(GLYPHS[code] * (end - start), style))
        note_style = self.get_component_rich_style("scrubber--note")
        segments.append(Segment(f" {self.note}", note_style))
        return Strip(segments).adjust_cell_length(self.size.width, note_style)

    def on_click(self, event: events.Click) -> None:
        """Wish to be where the mouse points."""
        column = event.x - len(self._label())
        width = self._bar_width()
        if 0 <= column < width:
            session = self.session
            step = step_at(column, session.first_step, session.end_step, width)
            self.post_message(StepWished(step))

    def on_focus(self) -> None:
        """Show that it has the keys."""
        self.refresh()

    def on_blur(self) -> None:
        """Show that it has not."""
        self.refresh()
