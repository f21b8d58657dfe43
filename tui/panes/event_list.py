"""All events of the run in one list that stands at the present; Enter or a click goes to one.

      14939  c2  free    first +0x2a0
    ► 14941  c1  alloc   32 B  first +0x2f0  f+0x1
      14943  c2  free    …                            (dim: not yet happened)

However long the run, only the rows in the window are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.cache import LRUCache

from tui.debugger.births import input_of
from tui.debugger.event_brief import event_brief
from tui.debugger.session import Session
from tui.messages import StepWished
from tui.panes.rows_pane import Piece, RowsPane

ROWS_KEPT = 1024
NAME_WIDTH = 7  # of the longest short name, and a gap
PRESENT_AT = 2  # thirds of the window above the present
WARNED = ("fail!", "chunk−", "fault!", "page!", "vmap!", "cpuhp!")


class EventList(RowsPane):
    """The events pane."""

    HELP = (
        "What happened and, dim, what is going to. Enter or a click goes to the moment of an event."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(id="events", title="2 events")
        self.session = session
        self._timeline: object = None
        self._kept: LRUCache[int, tuple[str, str, str]] = LRUCache(ROWS_KEPT)
        self._bases: tuple[int, ...] = ()
        self._index = 0
        self._step_width = 1
        self._cpu_width = max(len(str(max(session.machine.cpus))), 3)

    def show(self) -> None:
        """Stand at the present."""
        session = self.session
        if self._timeline is not session.timeline:
            self._timeline = session.timeline
            self._kept.clear()
        percpu = session.machine.bitmap
        chunks = percpu.chunks.values() if percpu is not None else ()
        bases = tuple(chunk.base_addr for chunk in chunks)
        if bases != self._bases:
            self._bases = bases  # rows name chunks that are there
            self._kept.clear()
        self._index = session.event_index
        self._step_width = len(str(session.end_step))
        self.border_subtitle = f"{self._index} of {session.nr_events}"
        self.cursor = max(self._index - 1, 0)
        self.rows_changed()
        above = max(self.size.height - 1, 1) * PRESENT_AT // 3
        self.scroll_to(y=max(self._index - above, 0), animate=False, force=True)

    def on_resize(self) -> None:
        """Keep the present in the window."""
        self.show()

    def nr_rows(self) -> int:
        """Return the events of the whole run."""
        return self.session.nr_events

    def heading(self) -> str:
        """Return the names of the columns."""
        return f"  {'step'.rjust(self._step_width)} {'cpu'.rjust(self._cpu_width)} event"

    def row(self, number: int) -> tuple[str, Sequence[Piece]]:
        """Return an event's row."""
        at = self.session.event(number)
        kept = self._kept.get(number)
        if kept is None:
            name, text = event_brief(self.session, at.event)
            kept = (name, text, self._origin(number))
            self._kept.set(number, kept)
        name, text, origin = kept
        step = self.session.step
        style = "present" if at.step == step else "later" if at.step > step else "text"
        mark = "►" if number + 1 == self._index else " "
        warn = "warn" if name in WARNED and style != "later" else ""
        pieces = [
            (f"{mark} ", "mark"),
            (f"{str(at.step).rjust(self._step_width)} {str(at.cpu).rjust(self._cpu_width)} ", ""),
            (f"{name:<{NAME_WIDTH}}", warn),
            (text, ""),
        ]
        if origin:
            pieces.append((f"  {origin}", "dim" if style == "text" else ""))
        return style, pieces

    def _origin(self, number: int) -> str:
        given = input_of(self.session.timeline, self.session.event(number))
        if given is None:
            return ""
        task = f"{given.by} " if given.by else ""
        return task + (f"line {given.line}" if given.line else "")

    def width_cells(self) -> int:
        """Return a width that has room for what is usual; more is cut."""
        return max(self.size.width, 100)

    def chosen(self, number: int) -> None:
        """Wish to be at the step of that event."""
        self.post_message(StepWished(self.session.event(number).step))
