"""Which allocation is which in two runs that have parted: by who asked, for how much, and its ordinal.

    run one     alloc f 64 (#1)   alloc g 8 (#1)   alloc f 64 (#2)   free …
    run other   alloc g 8 (#1)    alloc f 64 (#1)  …                       g's #1 moved

Counted from the last step that both runs share; what lived there already is told by its place. An input's
number would not do: an input that is left out on a branch shifts all that follow.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.events import PercpuAllocPercpu, PercpuFreePercpu
from snapshots.diff.rows import AreaName
from snapshots.timeline import Timeline

EVENTS_A_SLICE = 4096


class AreaNames:
    """The names of areas that were born after one step and live at another."""

    def __init__(self) -> None:
        self.by_addr: dict[int, AreaName] = {}  # address in unit 0; without such units the ptr
        self._nr_asked: dict[tuple[str, int], int] = {}

    def read(self, timeline: Timeline, since: int, until: int) -> Iterator[int]:
        """Go through the events after step since, up to and with step until; yields now and then."""
        by_ptr = timeline.machine.bitmap is None
        for number in range(timeline.events_before(since), timeline.events_before(until)):
            if number % EVENTS_A_SLICE == 0:
                yield number
            event = timeline.event_at(number).event
            if isinstance(event, PercpuAllocPercpu):
                self._take(event, event.ptr if by_ptr else event.base_addr + event.off)
            elif isinstance(event, PercpuFreePercpu):
                self.by_addr.pop(event.ptr if by_ptr else event.base_addr + event.off, None)

    def _take(self, event: PercpuAllocPercpu, place: int) -> None:
        asked = (event.call_site, event.size)
        ordinal = self._nr_asked[asked] = self._nr_asked.get(asked, 0) + 1
        self.by_addr[place] = AreaName(*asked, ordinal)
