"""Moving in time without ever holding up the screen.

    key ──► wish(step) ──► worker 'move': session.go() in slices ──► stopped: every pane repainted once
                │ a move is under way                 │ Esc: stops at the next slice, a sound position
                └► kept; only the newest one          └► scrubber shows how far it is

A held key asks faster than a machine can step. Its wishes replace each other, so that nothing is left to
be done when the key is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from textual.worker import Worker

from kernel_sim.errors import KernelSimError
from tui.debugger.commands.registry import TABLE_ONLY
from tui.debugger.console import execute
from tui.debugger.output import Output
from tui.debugger.session import Session

if TYPE_CHECKING:
    from tui.app import KmemscopeApp

GROUP = "move"
PLAY_PAUSE_S = 0.1
PANE_ROWS_MAX = 5000  # of a typed listing; nobody scrolls through more
SPEEDS = (1, 2, 5, 10, 25, 100)  # events between two pictures
Wish = Callable[[], int | None]


class Mover:
    """All moves of one app."""

    def __init__(self, app: KmemscopeApp, session: Session) -> None:
        self.app = app
        self.session = session
        self.pending: Wish | None = None
        self.is_moving = False
        self.is_playing = False
        self.speed = 0
        self.worker: Worker[None] | None = None
        self.line = ""  # the command under way

    @property
    def note(self) -> str:
        """What the scrubber says about a move under way."""
        if self.is_playing:
            return f"▶ ×{SPEEDS[self.speed]}"
        return "Esc stops" if self.is_moving else ""

    def wish(self, where: Wish, nothing: str = "") -> None:
        """Go where a function says once it is asked; None: say so and stay."""
        if self.is_moving:
            self.pending = where
            return
        self.is_playing = False
        try:
            step = where()
        except KernelSimError as problem:
            self.app.say(str(problem), "error")
            return
        if step is None:
            self.app.say(nothing, "error")
            return
        self.is_moving = True
        self._start(partial(self._go, step))

    def go_to(self, step: int) -> None:
        """Go to a step, whatever is under way."""
        self.stop()
        self.wish(lambda: step)

    def stop(self) -> bool:
        """Stop what is under way at the next slice; False if nothing was."""
        self.pending = None
        was_busy = self.is_moving or self.is_playing
        self.is_moving = self.is_playing = False
        self.line = ""
        if was_busy:
            self.app.workers.cancel_group(self.app, GROUP)
            self.app.stopped()
            self.app.autosave()  # a command that is given up may have done something
        return was_busy

    def play(self) -> None:
        """Run from event to event at a pleasant speed, or pause."""
        if self.stop():
            return
        if self.session.next_event_step() is None and not self.session.has_more:
            self.app.say("this is the end: nothing happens after it", "error")
            return
        self.is_playing = True
        self._start(self._play)

    def change_speed(self, way: int) -> None:
        """Play faster or slower."""
        self.speed = min(max(self.speed + way, 0), len(SPEEDS) - 1)
        self.app.say(f"play: {SPEEDS[self.speed]} events at a time", "done")

    def _start(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self.worker = self.app.run_worker(
            work, name="move", group=GROUP, exclusive=True, exit_on_error=False
        )

    async def _go(self, step: int) -> None:
        problem: KernelSimError | None = None
        try:
            await self.session.go(step, self._progress)
        except KernelSimError as raised:
            problem = raised
        except asyncio.CancelledError:
            return  # stop() has repainted; a newer move repaints itself
        self._arrived(problem)

    def _arrived(self, problem: KernelSimError | None) -> None:
        self.is_moving = False
        self.line = ""
        self.app.stopped()
        self.app.autosave()
        if problem is not None:
            self.app.say(str(problem), "error")
        self.app.call_after_refresh(self._run_pending)

    def run_on(self) -> None:
        """Let all calls under way run to their ends, beyond the newest step."""
        self.stop()
        self.is_moving = True
        self._start(self._run_on)

    async def _run_on(self) -> None:
        problem: KernelSimError | None = None
        try:
            await self.session.run()
        except KernelSimError as raised:
            problem = raised
        except asyncio.CancelledError:
            return
        self._arrived(problem)

    def carry_out(self, line: str) -> None:
        """Carry out a typed command; what it answers is shown when it is done.

        One that is under way is given up, and the answer tells so.
        """
        given_up = self.line if self.is_moving else ""
        self.stop()
        self.is_moving = True
        self.line = line
        self._start(partial(self._carry_out, line, given_up))

    async def _carry_out(self, line: str, given_up: str) -> None:
        problem: KernelSimError | None = None
        output = Output()
        stood_at_fault = self.session.machine.fault is not None
        try:
            output = await execute(
                self.session, line, self._progress, wants=TABLE_ONLY, rows_max=PANE_ROWS_MAX
            )
        except KernelSimError as raised:
            problem = raised
        except asyncio.CancelledError:
            return
        self._arrived(problem)
        if problem is None:
            has_stopped = self.session.machine.fault is not None and not stood_at_fault
            self.app.asking.show_answer(line, output, has_stopped=has_stopped)
        if given_up:
            self.app.say(f"{self.app.status.text}; given up: {given_up}", self.app.status.kind)

    def _run_pending(self) -> None:
        where, self.pending = self.pending, None
        if where is not None:
            self.wish(where)

    def _progress(self, here: int, goal: int) -> None:
        self.app.show_progress(here, goal)

    async def _play(self) -> None:
        problem: KernelSimError | None = None
        try:
            await self._run_from_event_to_event()
        except KernelSimError as raised:
            problem = raised
        self.is_playing = False
        self._arrived(problem)

    async def _run_from_event_to_event(self) -> None:
        session = self.session
        while self.is_playing:
            here = session.step
            index = min(session.event_index + SPEEDS[self.speed], session.nr_events) - 1
            step = session.go_on_to_event() if session.has_more else session.event_step(index)
            if step is None or step <= here:
                break
            await session.go(step)
            self.app.stopped()
            await asyncio.sleep(PLAY_PAUSE_S)
