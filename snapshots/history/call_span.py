"""Where the call under way began: what `reverse-finish` goes back to.

    step    0        b            here
            ·········|── call ────┼────────►
                     └ last position at which it had not run yet

No keyframe has a call under way, so a call has begun in the segment where it is seen to run. A scout goes
through that segment and sees it come.
"""

from __future__ import annotations

from time import perf_counter

from kernel_sim.call import Call
from kernel_sim.machine import Machine
from snapshots.history.change_index import SLICE_S, Search
from snapshots.history.scout import Scout
from snapshots.timeline import Timeline


def call_under_way(machine: Machine) -> Call | None:
    """Return the call of the CPU that ran last, else of the first CPU that has one, None without any."""
    last = machine.cpus.get(machine.scheduler.last_cpu)
    if last is not None and last.current is not None:
        return last.current
    return machine.cpus[machine.active[0]].current if machine.active else None


def call_begin(timeline: Timeline, slice_s: float = SLICE_S) -> Search[int | None]:
    """Find the last position before the call under way took its first step, None if none has begun.

    Yields the steps that were looked at; the timeline stays where it stands.
    """
    call = call_under_way(timeline.machine)
    if call is None or not call.nr_resumed:
        return None
    here, cpu = timeline.step, call.cpu
    depth = len(timeline.machine.cpus[cpu].stack)
    number = next(
        number for number in range(len(timeline.heads) - 1, -1, -1)
        if timeline.heads[number].first_step <= here
    )  # fmt: skip
    scout = Scout(timeline)
    while not scout.approach(number, here):
        yield timeline.heads[number].first_step
    begun = scout.step
    seen: Call | None = None
    deadline = perf_counter() + slice_s
    while scout.step < here:
        before = scout.step
        scout.take_step()
        stack = scout.machine.cpus[cpu].stack
        top = stack[depth - 1] if len(stack) >= depth else None
        if top is not seen and (top is None or top.nr_resumed):
            seen, begun = top, before
        if perf_counter() > deadline:
            yield scout.step
            deadline = perf_counter() + slice_s
    return begun
