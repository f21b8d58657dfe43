"""Waiting for a search without holding up a screen: a slice of work, progress, and the others' turn.

Whoever cancels the task that waits gives the search up between two slices. A search moves nobody: the session
then stands where it stood.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from kernel_sim.events import EventAt
from snapshots.history.change_index import SLICE_S, Search
from snapshots.timeline import Timeline
from tui.debugger.session import Progress

EVENTS_BETWEEN_LOOKS = 512  # at the clock
T = TypeVar("T")


async def answer_of(search: Search[T], progress: Progress | None, goal: int) -> T:
    """Return what a search finds, giving way between its slices."""
    while True:
        try:
            here = next(search)
        except StopIteration as end:
            found: T = end.value
            return found
        if progress is not None:
            progress(here, goal)
        await asyncio.sleep(0)


def find_event(
    timeline: Timeline, is_wanted: Callable[[EventAt], bool], low: int, high: int, *, forward: bool
) -> Search[int | None]:
    """Find the step of the first wanted event behind `low` and up to `high`; backwards, of the last one."""
    numbers = [
        number
        for number, head in enumerate(timeline.heads)
        if head.first_step <= high and (number + 1 == len(timeline.heads) or head.last_step > low)
    ]
    deadline = perf_counter() + SLICE_S
    for number in numbers if forward else reversed(numbers):
        yield timeline.heads[number].first_step  # unpacking takes its time
        events = timeline.body(number).events
        first = bisect_right(events, low, key=_step_of)
        end = bisect_left(events, high + 1, key=_step_of)
        for looked_at, place in enumerate(
            range(first, end) if forward else range(end - 1, first - 1, -1)
        ):
            if is_wanted(events[place]):
                return events[place].step
            if not looked_at % EVENTS_BETWEEN_LOOKS and perf_counter() > deadline:
                yield events[place].step
                deadline = perf_counter() + SLICE_S
    return None


def _step_of(at: EventAt) -> int:
    return at.step
