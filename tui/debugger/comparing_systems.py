"""A comparison for a session: its own run, or other work, on all systems, on machines like its own.

    compare                            what would the others have done with this run?
    compare gen:mixed,seed=7           other work, on machines like this one
    compare . bitmap,block-2005        this run, on these systems

The session's machine is not touched. It goes in slices; whoever cancels it has nothing.
"""

from __future__ import annotations

import asyncio

from kernel_sim.errors import ConfigError
from snapshots.compare.machines import ChosenSystem, chosen_systems
from snapshots.compare.run_source import reading_run
from snapshots.compare.runner import Comparison, begin_comparison, comparing
from snapshots.compare.workload import Workload, with_accesses
from snapshots.compare.workload_sources import read_workload
from tui.debugger.session import Progress, Session

OWN = "."


def checked_systems(text: str) -> tuple[ChosenSystem, ...]:
    """Return the systems of a list with commas, all for "". Raises ConfigError."""
    return chosen_systems(text or None)


async def compare_systems(
    session: Session, workload: str = OWN, systems: str = "", progress: Progress | None = None
) -> Comparison:
    """Give the session's run, or what a text names, to all systems or some.

    Raises ConfigError or InputError if the work cannot be read or no system can do it.
    """
    chosen = checked_systems(systems)
    config = session.machine.config
    work = await _work(session, workload, progress)
    comparison = begin_comparison(work, chosen, config.to_mapping(), config.name)
    nr_runs, nr_operations = len(comparison.runs), len(work.operations)
    labels = [run.label for run in comparison.runs]
    for told in comparing(comparison):
        if progress is not None:
            done = labels.index(told.label) * nr_operations + told.nr_done
            progress(done, nr_runs * nr_operations)
        await asyncio.sleep(0)
    return comparison


async def _work(session: Session, text: str, progress: Progress | None) -> Workload:
    if text not in ("", OWN):
        return await asyncio.to_thread(read_workload, text)
    reading = reading_run(session.timeline, name=session.name or "this run", origin="this run")
    while True:
        try:
            here, goal = next(reading)
        except StopIteration as end:
            work: Workload = end.value
            break
        if progress is not None:
            progress(here, max(goal, here))
        await asyncio.sleep(0)
    if not work.operations:
        raise ConfigError(
            "nothing is asked of the per-CPU memory in this run; give other work, such as gen:mixed"
        )
    return with_accesses(work)
