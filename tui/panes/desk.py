"""The desk on which the panes lie: all of them side by side where there is room, two where there is not.

wide    map     | events        narrow   map
        cpus    |                        one of events, cpus, walk or a listing
        listing | walk
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Grid
from textual.widget import Widget

from kernel_sim.errors import NotThisSystem
from tui.debugger.session import Session
from tui.debugger.table import Table, count
from tui.debugger.views.chunk_map import Place
from tui.messages import DeskResized
from tui.panes.chunk_map_pane import ChunkMapPane
from tui.panes.event_list import EventList
from tui.panes.listings import BENEATH, OUTPUT, Focus, listings_for, stack_line, walked
from tui.panes.table_pane import TablePane

FIXED = ("map", "events", "cpus", "walk")
OF_CHUNKS = ("chunks", "slots", "log", "stats")
OF_STRIPS = ("areas", "account", "log", "stretches")
WIDE_COLUMNS = 120
CPUS_AT_ONCE = 256  # a table of more is filled after the rest was painted


class Desk(Grid):
    """Panes, which of them are shown, and which listing lies in the lower pane."""

    def __init__(self, session: Session) -> None:
        super().__init__(id="desk")
        self.session = session
        self.focus_on = Focus()
        self.listings = listings_for(self.focus_on)
        self.lower = "events"  # of a narrow screen
        self.drawer_name = self.numbered[0]
        self._more_name = ""
        self.map_pane = ChunkMapPane(session)
        self.events = EventList(session)
        self.cpus = TablePane(id="cpus", title="3 cpus")
        self.drawer = TablePane(id="drawer", title="")
        self.walk = TablePane(id="walk", title="4 page walk")
        self.zoomed: Widget | None = None

    def compose(self) -> ComposeResult:
        """Lay out the panes; the stylesheet says where they go."""
        yield self.map_pane
        yield self.events
        yield self.cpus
        yield self.drawer
        yield self.walk

    def on_resize(self) -> None:
        """Set out the panes for the new size."""
        self.set_out()
        self.post_message(DeskResized())

    @property
    def panes(self) -> dict[str, Widget]:
        """The panes by id."""
        found: Sequence[Widget] = (self.map_pane, self.events, self.cpus, self.drawer, self.walk)
        return {pane.id or "": pane for pane in found}

    @property
    def is_wide(self) -> bool:
        """Whether all panes have room."""
        return self.app.size.width >= WIDE_COLUMNS

    # -- tabs --------------------------------------------------------------------------------------

    @property
    def numbered(self) -> tuple[str, ...]:
        """The listings with a number of their own: those that say most of this machine."""
        return OF_STRIPS if self.session.machine.bitmap is None else OF_CHUNKS

    @property
    def more(self) -> list[str]:
        """The further listings."""
        return [name for name in self.listings if name not in (*FIXED, *self.numbered)]

    @property
    def more_name(self) -> str:
        """The one of them that the last tab shows."""
        return self._more_name if self._more_name in self.more else self.more[0]

    def tabs(self) -> list[tuple[str, str]]:
        """Return (number, name) of every tab; the last number turns through all further listings."""
        names = [*FIXED, *self.numbered, self.more_name]
        return [(str(number), name) for number, name in enumerate(names, 1)]

    def shown_names(self) -> frozenset[str]:
        """Return the names of what is on the screen."""
        if self.zoomed is not None:
            return frozenset([self.name_of(self.zoomed)])
        if self.is_wide:
            return frozenset([*FIXED, self.drawer_name])
        lower = self.drawer_name if self.lower == "drawer" else self.lower
        return frozenset(["map", lower])

    def name_of(self, pane: Widget) -> str:
        """Return the name of what a pane shows."""
        return self.drawer_name if pane is self.drawer else pane.id or ""

    def open(self, name: str) -> Widget:
        """Show a pane or listing by name and return its pane."""
        if name in FIXED:
            pane = self.panes[name]
        else:
            if name in self.more:
                self._more_name = name
            self.drawer_name = name
            pane = self.drawer
        if pane is not self.map_pane:
            self.lower = pane.id or ""
        if self.zoomed is not None and self.zoomed is not pane:
            self.zoom(None)
        self.set_out()
        return pane

    def turn(self, way: int) -> str:
        """Return the listing after, or before, the one in the lower pane."""
        names = [name for name in (*self.numbered, *self.more) if name != OUTPUT]
        at = names.index(self.drawer_name) if self.drawer_name in names else -1
        return names[(at + way) % len(names)]

    def turn_beneath(self, way: int) -> str:
        """Return the listing of the machine beneath after, or before, the one in the lower pane.

        From any other listing the first of them, or the one that was looked at last.
        """
        if self.drawer_name not in BENEATH or "drawer" not in self._on_screen():
            return self.more_name if self.more_name in BENEATH else BENEATH[0]
        return BENEATH[(BENEATH.index(self.drawer_name) + way) % len(BENEATH)]

    def next_more(self) -> str:
        """Return what the last tab shows: the next further listing if it shows one already."""
        if self.drawer_name != self.more_name or "drawer" not in self._on_screen():
            return self.more_name
        return self.more[(self.more.index(self.more_name) + 1) % len(self.more)]

    def _on_screen(self) -> tuple[str, ...]:
        if self.zoomed is not None:
            return (self.zoomed.id or "",)
        return tuple(self.panes) if self.is_wide else ("map", self.lower)

    def set_out(self) -> None:
        """Show the panes that are to be seen, hide the others."""
        on_screen = self._on_screen()
        for name, pane in self.panes.items():
            pane.set_class(name not in on_screen, "-away")

    def zoom(self, pane: Widget | None) -> None:
        """Give one pane the whole desk; None: share it again."""
        self.zoomed = pane
        self.set_class(pane is not None, "-zoomed")
        self.set_out()

    # -- contents ----------------------------------------------------------------------------------

    def show_stop(self, mark: bool) -> None:
        """Bring all panes on the screen up to the present; mark: show what is new."""
        self.map_pane.show_stop(mark)
        on_screen = self._on_screen()
        if "events" in on_screen:
            self.events.show()
        self.show_listings(mark)

    def show_listings(self, mark: bool = False) -> None:
        """Bring the listings on the screen up to the present and to what is looked at."""
        place = self.map_pane.current.place
        if isinstance(place, Place):
            self.focus_on.chunk, self.focus_on.at_bytes = place.number, place.start_bytes
        self.focus_on.virt = self.map_pane.stretch_map.address()
        on_screen = self._on_screen()
        if "walk" in on_screen:
            self._fill(self.walk, "walk", mark)
        if "cpus" in on_screen:
            if len(self.session.machine.cpus) > CPUS_AT_ONCE:
                self.call_after_refresh(self._fill, self.cpus, "cpus", mark)
            else:
                self._fill(self.cpus, "cpus", mark)
        self.cpus.border_subtitle = self._said(stack_line)
        self.walk.border_subtitle = self._said(walked)
        if "drawer" not in on_screen:
            return
        if self.listings[self.drawer_name].is_slow:
            self.call_after_refresh(self._show_drawer, mark)
        else:
            self._show_drawer(mark)

    def _said(self, say: Callable[[Session, Focus], str]) -> str:
        """Return what a line says, nothing if a stranger's file makes that impossible."""
        try:
            return say(self.session, self.focus_on)
        except Exception:
            if not self.session.timeline.is_foreign:
                raise
            return ""

    def _fill(self, pane: TablePane, name: str, mark: bool) -> None:
        listing = self.listings[name]
        try:
            table = listing.view(self.session)
        except NotThisSystem as problem:
            table = Table(f"{name}: {problem}", (), ())
        except Exception as problem:
            timeline = self.session.timeline
            if not timeline.is_foreign:
                raise
            table = Table(str(timeline.blamed(problem)), (), ())
        pane.show_table(table, listing, mark=mark)

    def _show_drawer(self, mark: bool) -> None:
        self._fill(self.drawer, self.drawer_name, mark)
        tabs = {name: number for number, name in self.tabs()}
        self.drawer.border_title = f"{tabs.get(self.drawer_name, '')} {self.drawer_name}"
        table = self.drawer.table
        self.drawer.border_subtitle = count(len(table.rows), "row") if table is not None else ""
