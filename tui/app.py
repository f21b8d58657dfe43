"""The screen of the debugger: panes on a desk, keys, and one repaint of everything for every stop.

    keys, mouse ──► actions ──► Mover ──► session ──► stopped() ──► Desk.show_stop() ──► panes
                        └► prompts, help, commands                    (in one batch)

Nothing here knows how a listing is made or how a move is done: see tui/debugger and mover.py.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widget import Widget
from textual.worker import Worker

from kernel_sim.percpu.catalogue import DEFAULT_SYSTEM, system_entry
from tui.asking import Asking
from tui.comparing import Comparing
from tui.debugger import place as pasted
from tui.debugger.session import Session
from tui.debugger.views.chunk_map import Place
from tui.debugger.views.fault import fault_headline
from tui.debugger.views.strip_layout import StripPlace
from tui.garbage import collect_rarely
from tui.keys import bindings
from tui.messages import PlaceNamed, RowChosen, StepWished, TabChosen
from tui.mover import Mover
from tui.panes.desk import FIXED, WIDE_COLUMNS, Desk
from tui.panes.lines import KeyLine, StatusLine, TabLine
from tui.panes.time_scrubber import TimeScrubber
from tui.screens.help_screen import HelpScreen
from tui.theme import DARK, DARK_NAME, LIGHT, LIGHT_NAME

HUGE_COLUMNS = 190
ADDRESSES = (
    "virt",
    "start",
    "cpu0",
    "core_addr",
    "addr",
    "static_copy",
)  # columns of listings without steps and places
BAD_INPUT = 2
MARKED_EVENTS_MAX = 64  # a longer way changes so much that marks say nothing


class KmemscopeApp(App[None]):
    """One session on the screen."""

    CSS_PATH = "kmemscope.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (WIDE_COLUMNS, "-wide"),
        (HUGE_COLUMNS, "-huge"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = list(bindings())
    TITLE = "kmemscope"

    def __init__(
        self, session: Session, place: pasted.Place | None = None, *, light: bool = False
    ) -> None:
        super().__init__()
        self.session = session
        self.place = place  # where to look first
        self.mover = Mover(self, session)
        self.desk = Desk(session)
        self.tab_line = TabLine()
        self.scrubber = TimeScrubber(session)
        self.status = StatusLine()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT_NAME if light else DARK_NAME
        self.asking = Asking(self)
        self.comparing = Comparing(self)
        self.last_event_index = session.event_index
        self.problem: Exception | None = None  # what a file holds that ended the screen

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield self.tab_line
        yield self.desk
        yield self.scrubber
        yield self.status
        yield KeyLine()

    def on_mount(self) -> None:
        """Show the present."""
        self.desk.set_out()
        self.desk.map_pane.current.focus()
        if self.place is not None:
            self.call_after_refresh(self._look_at, self.place)

    def _look_at(self, place: pasted.Place) -> None:
        """Show the listing and put the cursor where a pasted place says, as far as they are there."""
        if place.pane in self.desk.listings or place.pane in FIXED:
            self.open_listing(place.pane)
        self.desk.map_pane.current.select(place.sel)

    def on_desk_resized(self) -> None:
        """Show the present in the panes that are there now."""
        self.call_after_refresh(self.stopped)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return colours for looks that are not ours."""
        return DARK.variables

    def _handle_exception(self, error: Exception) -> None:
        """Leave in words, not in a traceback, if it is a stranger's file that cannot be shown."""
        timeline = self.session.timeline
        if timeline.is_foreign:
            self.problem = timeline.blamed(error)
            self.exit(return_code=BAD_INPUT)
        else:
            super()._handle_exception(error)

    # -- what is shown -----------------------------------------------------------------------------

    def stopped(self) -> None:
        """Show the present moment in every pane, in one picture."""
        session = self.session
        index = session.event_index
        mark = abs(index - self.last_event_index) <= MARKED_EVENTS_MAX
        self.last_event_index = index
        with self.batch_update():
            self.desk.show_stop(mark)
            self.scrubber.show(session.step, note=self.mover.note)
            self._show_tabs()
            self._name_place(self.desk.map_pane.current.place)

    def autosave(self) -> None:
        """Write down what was done since the last stop, behind the user's back."""
        if self.session.autosave is not None:
            self.noting: Worker[None] = self.run_worker(
                self._autosave, group="autosave", exit_on_error=False
            )

    async def _autosave(self) -> None:
        autosave = self.session.autosave
        if autosave is not None:
            await autosave.note()
            for said in autosave.take_said():
                self.say(said, "error")

    def show_progress(self, here: int, goal: int) -> None:
        """Show how far a move is."""
        self.scrubber.show(here, goal, self.mover.note)

    def say(self, text: str, kind: str = "text") -> None:
        """Put a text on the status line; kind is text, error or done."""
        self.status.say(text, kind)

    def _show_tabs(self) -> None:
        config = self.session.machine.config
        entry = system_entry(config.percpu.system)
        is_default = entry.name == DEFAULT_SYSTEM
        name = f"{config.name} · {f'Linux {config.kernel.version}' if is_default else entry.years}"
        focused = self.desk.name_of(pane) if (pane := self._pane()) is not None else ""
        self.tab_line.show(self.desk.tabs(), self.desk.shown_names(), focused, name)

    def _name_place(self, place: Place | StripPlace | None) -> None:
        fault = self.session.machine.fault
        if fault is not None:
            begin = self.session.fault_begin_step()
            key = "P" if begin == self.session.previous_call_step() else f"g {begin}"
            self.say(f"{fault_headline(self.session, fault)}; {key}: back before it", "error")
        elif place is not None:
            self.say(self.desk.map_pane.current.describe(place))

    def _pane(self) -> Widget | None:
        """Return the pane that has the keys."""
        widget = self.screen_stack[0].focused
        while widget is not None and not widget.has_class("pane"):
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        return widget

    def on_descendant_focus(self) -> None:
        """Show which pane has the keys."""
        self._show_tabs()

    # -- what panes wish ---------------------------------------------------------------------------

    def on_step_wished(self, message: StepWished) -> None:
        """Go there."""
        self.mover.go_to(message.step)

    def on_place_named(self, message: PlaceNamed) -> None:
        """Say what is there; the listings follow the cursor, not the mouse."""
        if message.by_mouse:
            self._name_place(message.place or self.desk.map_pane.current.place)
            return
        with self.batch_update():
            self.desk.focus_on.typed_address = None
            self.desk.show_listings()
            self._name_place(message.place)
            if message.note:
                self.say(message.note, "done")

    def on_tab_chosen(self, message: TabChosen) -> None:
        """Show it."""
        self.open_listing(message.name)

    def on_row_chosen(self, message: RowChosen) -> None:
        """Go where a row leads: to a CPU, to a step, to a place on the map, or to the walk of an address."""
        cells = message.cells
        step = next(
            (cells[name] for name in ("step", "born_step") if isinstance(cells.get(name), int)),
            None,
        )
        chunk, offset = cells.get("chunk"), cells.get("offset", cells.get("off"))
        copy = cells.get("cpu0") if message.pane_id == "areas" else None
        if "branch" in cells:  # of the bookmarks, or of the branches
            name = cells.get("name", cells["branch"])
            self.mover.carry_out(f"{'goto' if 'name' in cells else 'branch'} {str(name).strip()}")
        elif message.pane_id == "cpus" and isinstance(cells["cpu"], int):
            self._choose_cpu(cells["cpu"])
        elif isinstance(chunk, int) or (message.pane_id == "areas" and isinstance(offset, int)):
            number = chunk if isinstance(chunk, int) else self.desk.focus_on.chunk
            self._show_on_map(number, offset if isinstance(offset, int) else 0)
        elif isinstance(copy, int) and self.desk.map_pane.go_to_address(copy):
            self.desk.map_pane.current.focus()
        elif isinstance(step, int):
            self.mover.go_to(step)
        else:
            address = next((cells[name] for name in ADDRESSES if cells.get(name)), None)
            if isinstance(address, int) and self.desk.map_pane.go_to_address(address):
                self.desk.map_pane.current.focus()
            elif isinstance(address, int):
                self.desk.focus_on.typed_address = address
                self.open_listing("walk")

    def _show_on_map(self, number: int, offset: int) -> None:
        self.desk.map_pane.chunk_map.go_to_chunk(number, offset)

    def _choose_cpu(self, cpu: int | None) -> None:
        self.desk.focus_on.chosen_cpu = cpu
        self.desk.show_listings()
        shown = self.desk.focus_on.cpu(self.session)
        follows = " (it follows the CPU that runs)" if cpu is None else ""
        self.say(f"looking at cpu {shown}{follows}", "done")

    # -- moving ------------------------------------------------------------------------------------

    def action_step(self, steps: int) -> None:
        """Go some steps on or back."""
        session = self.session

        def where() -> int | None:
            step = session.step + steps
            if step > session.end_step and session.has_more:
                return session.go_on(steps)
            return step if session.first_step <= step <= session.end_step else None

        self.mover.wish(
            where, "this is the end of the run" if steps > 0 else "this is the start of the run"
        )

    def action_next_call(self) -> None:
        """Go to the end of the call; at the newest step let all that is under way run to its end."""
        if self.session.has_more:
            self.mover.run_on()
            return
        self.mover.wish(self.session.next_call_step, "there is no call after this")

    def action_previous_call(self) -> None:
        """Go to the beginning of the call before."""
        self.mover.wish(self.session.previous_call_step, "there is no call before this")

    def action_next_event(self) -> None:
        """Go to the next event."""
        session = self.session

        def where() -> int | None:
            step = session.next_event_step()
            return session.go_on_to_event() if step is None else step

        self.mover.wish(where, "there is no event after this")

    def action_previous_event(self) -> None:
        """Go to the event before."""
        self.mover.wish(self.session.previous_event_step, "there is no event before this")

    def action_next_mark(self, kinds: str) -> None:
        """Run to the next mark of these kinds."""
        self.mover.wish(lambda: self.session.mark_step(kinds, True), _no_mark(kinds, "after"))

    def action_previous_mark(self, kinds: str) -> None:
        """Run backwards to the mark before."""
        self.mover.wish(lambda: self.session.mark_step(kinds, False), _no_mark(kinds, "before"))

    def action_edge(self, name: str) -> None:
        """Go to the start or the end."""
        self.mover.go_to(self.session.position(name))

    def action_play(self) -> None:
        """Run, or pause."""
        self.mover.play()

    def action_speed(self, way: int) -> None:
        """Play faster or slower."""
        self.mover.change_speed(way)

    def action_stop(self) -> None:
        """Stop a move; without one leave the zoomed pane, and clear what was said."""
        line = self.mover.line
        if self.comparing.stop():
            return
        if self.mover.stop():
            given_up = f"; given up: {line}" if line else ""
            self.say(f"stopped at step {self.session.here}{given_up}", "done")
        elif self.desk.zoomed is not None:
            self.action_zoom_pane()
        else:
            self._name_place(self.desk.map_pane.current.place)

    # -- looking around ----------------------------------------------------------------------------

    def action_pane(self, number: int) -> None:
        """Show the pane or listing of a number and give it the keys."""
        tabs = self.desk.tabs()
        self.open_listing(self.desk.next_more() if number == len(tabs) else tabs[number - 1][1])

    def action_turn(self, way: int) -> None:
        """Show the next listing in the lower pane."""
        self.open_listing(self.desk.turn(way))

    def action_turn_beneath(self, way: int) -> None:
        """Show the next listing of the machine beneath in the lower pane."""
        self.open_listing(self.desk.turn_beneath(way))

    def open_listing(self, name: str) -> None:
        """Show a pane or listing by name and give it the keys."""
        with self.batch_update():
            pane = self.desk.open(name)
            self.call_after_refresh(self._opened, pane)

    def _opened(self, pane: Widget) -> None:
        target = self.desk.map_pane.current if pane is self.desk.map_pane else pane
        target.focus()
        self.desk.show_listings()
        self.desk.events.show()
        self._show_tabs()

    def action_zoom_pane(self) -> None:
        """Give the pane with the keys the whole desk, or share it again."""
        self.desk.zoom(None if self.desk.zoomed is not None else self._pane())
        self.call_after_refresh(self.stopped)

    def action_next_cpu(self) -> None:
        """Look at the next CPU."""
        cpus = self.session.machine.topology.possible
        chosen = self.desk.focus_on.chosen_cpu
        at = cpus.index(chosen) + 1 if chosen is not None else 0
        self._choose_cpu(cpus[at] if at < len(cpus) else None)

    def action_map_zoom(self, way: int) -> None:
        """Change how many bytes a cell of the map is."""
        self.desk.map_pane.current.zoom(way)

    def action_theme(self) -> None:
        """Dark or light."""
        self.theme = LIGHT_NAME if self.theme == DARK_NAME else DARK_NAME

    def action_help(self) -> None:
        """Show the keys that work here."""
        pane = self._pane()
        about = getattr(pane, "about", "") or getattr(pane, "HELP", "") if pane is not None else ""
        self.push_screen(HelpScreen(pane.id or "" if pane is not None else "", about or ""))

    # -- asking ------------------------------------------------------------------------------------

    def action_goto(self) -> None:
        """Ask for a position and go there."""
        self.asking.goto()

    def action_bookmark(self) -> None:
        """Ask for a name for this step."""
        self.asking.bookmark()

    def action_search(self) -> None:
        """Ask what to find in the map."""
        self.asking.search()

    def action_walk_address(self) -> None:
        """Ask for an address to walk to."""
        self.asking.walk()

    def action_whatis(self) -> None:
        """Ask for an address and say who owns it."""
        self.asking.whatis()

    def action_until(self, way: int) -> None:
        """Ask for a condition and go to where it becomes true."""
        self.asking.until(way)

    def action_last(self) -> None:
        """Ask what was changed last, and go there."""
        self.asking.last()

    def action_diff(self) -> None:
        """Ask for a position and show what is not the same there."""
        self.asking.diff()

    def action_compare(self) -> None:
        """Ask for work, and show what all per-CPU systems make of it, side by side."""
        self.comparing.ask()

    def action_copy_place(self) -> None:
        """Put this place into the clipboard, as one string."""
        pane = self._pane()
        name = self.desk.name_of(pane) if pane is not None else ""
        place = str(self.session.place(name, self.desk.map_pane.current.selection()))
        self.copy_to_clipboard(place)
        self.say(f"copied: {place}", "done")

    def action_save(self) -> None:
        """Ask for a file and write the recording."""
        self.asking.save()

    def action_command(self) -> None:
        """Ask for a command and carry it out."""
        self.asking.command()


def run_app(session: Session, place: pasted.Place | None = None) -> None:
    """Show a session on the terminal until the person leaves."""
    collect_rarely()
    app = KmemscopeApp(session, place)
    app.run()
    if app.problem is not None:
        raise app.problem


def _no_mark(kinds: str, side: str) -> str:
    what = "failed allocation" if kinds == "f" else "chunk made or destroyed"
    return f"there is no {what} {side} this"
