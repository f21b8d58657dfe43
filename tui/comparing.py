"""From the desk to the compare screen: what is asked, the runs in a worker, the screen when they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from textual.worker import Worker

from kernel_sim.errors import KernelSimError
from snapshots.compare.side_by_side import SideBySide
from tui.debugger.comparing_systems import OWN, checked_systems, compare_systems
from tui.debugger.errors import CommandError
from tui.screens.compare import CompareScreen
from tui.screens.prompt_screen import PromptScreen

if TYPE_CHECKING:
    from tui.app import KmemscopeApp

GROUP = "compare"
Work = Callable[[], Coroutine[None, None, None]]
HINT = "empty: this run   gen:mixed,seed=7   a file;   then systems, with commas: bitmap,block-2005"
WORDS_MAX = 2


class Comparing:
    """The comparisons of one app; Esc on the desk gives up the one under way."""

    def __init__(self, app: KmemscopeApp) -> None:
        self.app = app
        self.history: list[str] = []
        self.is_running = False
        self.worker: Worker[None] | None = None

    def ask(self) -> None:
        """Ask what is to be done side by side."""
        screen = PromptScreen(
            "on all per-CPU systems, side by side", HINT, self.start, history=self.history
        )
        self.app.push_screen(screen)

    def start(self, text: str) -> None:
        """Begin with the runs. Raises CommandError or ConfigError for a text that is no wish."""
        words = text.split()
        if len(words) > WORDS_MAX:
            raise CommandError(f"{words[WORDS_MAX]!r} is too much: expected {HINT}")
        workload = words[0] if words else OWN
        systems = words[1] if len(words) == WORDS_MAX else ""
        checked_systems(systems)
        self.is_running = True
        work: Work = partial(self._run, workload, systems)
        self.worker = self.app.run_worker(work, group=GROUP, exclusive=True, exit_on_error=False)

    def stop(self) -> bool:
        """Give up; False if nothing is under way."""
        was_running, self.is_running = self.is_running, False
        if was_running:
            self.app.workers.cancel_group(self.app, GROUP)
        return was_running

    async def _run(self, workload: str, systems: str) -> None:
        try:
            comparison = await compare_systems(self.app.session, workload, systems, self._tell)
        except KernelSimError as problem:
            self.app.say(str(problem), "error")
        except asyncio.CancelledError:
            self.app.say("the comparison was given up", "done")
        else:
            nr_runs, nr_not = len(comparison.runs), len(comparison.not_run)
            rest = f"; {nr_not} cannot be on this machine" if nr_not else ""
            self.app.say(f"compared {nr_runs} systems{rest}", "done")
            self.app.push_screen(CompareScreen(SideBySide(comparison)))
        self.is_running = False

    def _tell(self, here: int, goal: int) -> None:
        self.app.say(f"comparing: {100 * here // max(goal, 1)}% (Esc gives up)", "done")
