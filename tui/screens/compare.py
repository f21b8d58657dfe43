"""Several per-CPU systems side by side at the same place of the same work.

     mixed 7   812/2000 (40%)   alloc #123 64 B align 8 on cpu 0
    ╭ legacy-static ──────────╮╭ block-2005 ─────────────╮
    │ map                     ││ map                     │     as many columns as there is room for
    │ figures                 ││ figures                 │
    ╰─────────────────────────╯╰─────────────────────────╯
     why a system did not do it; or what is under the cursor

One position for all: a key moves every run, also those out of the picture. Moves go in slices in a worker;
of wishes that come meanwhile the newest is kept.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.worker import Worker

from kernel_sim.errors import KernelSimError
from snapshots.compare.side_by_side import SideBySide
from tui.compare_keys import COMPARE_KEYS
from tui.debugger.errors import CommandError
from tui.debugger.views.side_by_side import headline, reason_text
from tui.keys import bindings
from tui.panes.compare_column import CompareColumn, PlaceTold
from tui.panes.lines import KeyLine, StatusLine
from tui.screens.help_screen import HelpScreen
from tui.screens.prompt_screen import PromptScreen
from tui.theme import DARK_NAME, LIGHT_NAME

COLUMN_WIDTH = 38
NR_FIGURE_LINES = 9
STYLE = f"""
CompareScreen {{ align: left top; background: $background; layout: vertical; }}
#compare-head {{ height: 1; }}
#compare-status {{ height: 2; }}
#columns {{ height: 1fr; }}
.column {{ width: 1fr; height: 1fr; }}
.column.-away {{ display: none; }}
.column .figures {{ height: {NR_FIGURE_LINES}; }}
.column ChunkMap, .column StretchMap {{ height: 1fr; }}
"""
GOTO_HINT = "1234  50%  +10  -10  start  end: operations that are done"
ABOUT = "The same operations, done by every system; each column is one of them after as many."


class CompareScreen(ModalScreen[None]):
    """A comparison; whoever pushes it has run it. Modal, so that no key of the desk beneath works here."""

    CSS = STYLE
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(COMPARE_KEYS))

    def __init__(self, side: SideBySide) -> None:
        super().__init__()
        self.side = side
        self.columns = [CompareColumn(side, run) for run in side.comparison.runs]
        self.first = 0  # of the columns in the picture
        self.is_moving = False
        self.pending: int | None = None
        self.header = StatusLine("compare-head")
        self.status = StatusLine("compare-status")
        self.moving: Worker[None] | None = None
        self.history: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield self.header
        with Horizontal(id="columns"):
            yield from self.columns
        yield self.status
        yield KeyLine(COMPARE_KEYS, "screen")

    def on_mount(self) -> None:
        """Show the present position."""
        self._set_out()
        if self.columns:
            self.columns[0].map.focus()
        self.call_after_refresh(self.wish, self.side.position)

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        self._set_out()
        self.call_after_refresh(self.wish, self.side.position)

    # -- which columns -----------------------------------------------------------------------------

    @property
    def shown(self) -> list[CompareColumn]:
        """The columns in the picture."""
        nr_shown = max(self.app.size.width // COLUMN_WIDTH, 1)
        return self.columns[self.first : self.first + nr_shown]

    def _set_out(self) -> None:
        nr_shown = max(self.app.size.width // COLUMN_WIDTH, 1)
        self.first = max(min(self.first, len(self.columns) - nr_shown), 0)
        shown = self.shown
        for column in self.columns:
            column.set_class(column not in shown, "-away")

    def action_turn(self, way: int) -> None:
        """Bring the next system into the picture."""
        before = self.first
        self.first += way
        self._set_out()
        if self.first == before:
            self.say("there is no other system that way", "error")
            return
        shown = self.shown
        if self.focused is None or not any(self.focused is column.map for column in shown):
            shown[0 if way < 0 else -1].map.focus()
        self.call_after_refresh(self.wish, self.side.position)

    # -- moving ------------------------------------------------------------------------------------

    def wish(self, position: int) -> None:
        """Go to a position, or once what is under way has arrived."""
        if self.is_moving:
            self.pending = position
            return
        self.is_moving = True
        self.moving = self.run_worker(self._go(position), group="compare", exit_on_error=False)

    async def _go(self, position: int) -> None:
        keep_before = position != self.side.position
        problem = ""
        try:
            for _ in self.side.moves(position):
                await asyncio.sleep(0)
            await self._show(keep_before)
        except KernelSimError as raised:
            problem = str(raised)
        self.is_moving = False
        if problem:
            self.say(problem, "error")
        pending, self.pending = self.pending, None
        if pending is not None:
            self.wish(pending)

    async def _show(self, keep_before: bool) -> None:
        for column in self.shown:
            for _ in column.shows(keep_before):
                await asyncio.sleep(0)
        self.header.say(headline(self.side, self._whose()))
        reasons = [
            text for run in self.side.comparison.runs if (text := reason_text(self.side, run))
        ]
        self.say("; ".join(reasons), "error" if reasons else "text")

    def _whose(self) -> str:
        """Return which systems are in the picture, if not all are."""
        nr_shown, nr_all = len(self.shown), len(self.columns)
        if nr_shown == nr_all:
            return ""
        return f"systems {self.first + 1}-{self.first + nr_shown} of {nr_all}"

    def say(self, text: str, kind: str = "text") -> None:
        """Put a text on the status line."""
        self.status.say(text, kind)

    def action_step(self, nr_operations: int) -> None:
        """Go some operations on or back."""
        here = self.side.position if self.pending is None else self.pending
        goal = min(max(here + nr_operations, 0), self.side.last)
        if goal == here:
            edge = "end of the work" if nr_operations > 0 else "beginning"
            self.say(f"this is the {edge}", "error")
            return
        self.wish(goal)

    def action_trouble(self, forward: bool) -> None:
        """Go to where some system did not do an operation."""
        goal = self.side.trouble_position(forward=forward)
        if goal is None:
            self.say(f"everything {'after' if forward else 'before'} this was done", "error")
            return
        self.wish(goal)

    def action_edge(self, name: str) -> None:
        """Go to the start or the end."""
        self.wish(self.position_of(name))

    def action_goto(self) -> None:
        """Ask for a position and go there."""
        screen = PromptScreen("go to operation", GOTO_HINT, self._go_to, history=self.history)
        self.app.push_screen(screen)

    def _go_to(self, text: str) -> None:
        self.wish(self.position_of(text))

    def position_of(self, text: str) -> int:
        """Return the position that a text means. Raises CommandError."""
        last, here = self.side.last, self.side.position
        edges = {"start": 0, "end": last}
        digits = text.strip("+-%")
        if text in edges:
            return edges[text]
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
            raise CommandError(f"{text!r} is no position: expected {GOTO_HINT}")
        number = int(digits)
        if text == f"{digits}%":
            number = last * number // 100
        elif text in (f"+{digits}", f"-{digits}"):
            number = here + number if text[0] == "+" else here - number
        elif text != digits:
            raise CommandError(f"{text!r} is no position: expected {GOTO_HINT}")
        if not 0 <= number <= last:
            raise CommandError(f"{text}: expected a position from 0 to {last}")
        return number

    # -- looking around ----------------------------------------------------------------------------

    def on_place_told(self, message: PlaceTold) -> None:
        """Say what is under the cursor of a column."""
        self.say(message.text)

    def action_zoom(self, way: int) -> None:
        """Change how many bytes a cell of the column with the keys is."""
        column = next((each for each in self.columns if each.map is self.focused), None)
        if column is not None:
            column.map.zoom(way)

    def action_theme(self) -> None:
        """Dark or light."""
        self.app.theme = LIGHT_NAME if self.app.theme == DARK_NAME else DARK_NAME

    def action_help(self) -> None:
        """Show the keys that work here."""
        self.app.push_screen(HelpScreen("", ABOUT, COMPARE_KEYS))

    def action_leave(self) -> None:
        """Leave; an app that shows nothing else ends."""
        self.dismiss(None)
