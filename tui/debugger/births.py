"""When was this object made, and by whom? Answered from the events of the run, newest first.

    segments   | older, closed |  older, closed  | the present one ..now
    index        place: last     place: last       place: every event, in order

A place is base_addr + off of an allocation or a free where areas lie in chunks of the bitmap allocator, which
do not overlap; on any other system it is the ptr. Either names an area.
Older segments are indexed when a search first gets to them, and the index stays: the next search is
a lookup. What was there when the record began has no event; the first keyframe knows it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from kernel_sim.events import EventAt, PercpuAllocPercpu, PercpuFreePercpu, WorkBegan
from kernel_sim.inputs import Input
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.state import Dump, load_chunk
from snapshots.history.first_areas import areas_at_beginning
from snapshots.timeline import Timeline

INPUTS_BACK_MAX = 4096  # calls of one CPU that may wait while others are given
PLACED = (PercpuAllocPercpu, PercpuFreePercpu)
ALLOC_SIZE_ROUND = 3
Placed: TypeAlias = PercpuAllocPercpu | PercpuFreePercpu
FirstAreas: TypeAlias = dict[int, tuple[tuple[int, int], ...]]


@dataclass(slots=True)
class Births:
    """Remembers where events of a timeline are; one a session."""

    timeline: Timeline | None = None
    closed: dict[int, dict[int, int]] = field(default_factory=dict)  # segment -> place -> event
    present: dict[int, list[int]] = field(default_factory=dict)
    present_key: tuple[int, int] = (-1, -1)  # segment and number of events that `present` knows
    first: dict[int, None] | None = None  # places of areas that were there when the record began

    def last_event(self, timeline: Timeline, base_addr: int, off: int) -> EventAt | None:
        """Return the last allocation or free of a place up to the present, None without one."""
        self._look_at(timeline)
        place = base_addr + off
        end = timeline.events_before(timeline.step)
        number = bisect_right(timeline.heads, end - 1, key=lambda head: head.first_event) - 1
        if end <= 0 or number < 0:
            return None
        numbers = self._present(timeline, number).get(place, [])
        known = bisect_right(numbers, end - 1)
        if known:
            return timeline.event_at(numbers[known - 1])
        for older in range(number - 1, -1, -1):
            found = self._closed(timeline, older).get(place)
            if found is not None:
                return timeline.event_at(found)
        return None

    def is_from_before(self, timeline: Timeline, base_addr: int, off: int) -> bool:
        """Say whether an area was at that place when the record began."""
        self._look_at(timeline)
        if self.first is None:
            self.first = _first_places(timeline)
        return base_addr + off in self.first

    def _look_at(self, timeline: Timeline) -> None:
        if timeline is not self.timeline:
            self.timeline, self.closed, self.present_key = timeline, {}, (-1, -1)
            self.first = None

    def _present(self, timeline: Timeline, number: int) -> dict[int, list[int]]:
        events = timeline.body(number).events
        if self.present_key != (number, len(events)):
            index: dict[int, list[int]] = {}
            place_of = _place_reader(timeline)
            first = timeline.heads[number].first_event
            for at, row in enumerate(events, first):
                if isinstance(row.event, PLACED):
                    index.setdefault(place_of(row.event), []).append(at)
            self.present, self.present_key = index, (number, len(events))
        return self.present

    def _closed(self, timeline: Timeline, number: int) -> dict[int, int]:
        index = self.closed.get(number)
        if index is None:
            first = timeline.heads[number].first_event
            place_of = _place_reader(timeline)
            index = {
                place_of(row.event): at
                for at, row in enumerate(timeline.body(number).events, first)
                if isinstance(row.event, PLACED)
            }
            self.closed[number] = index
        return index


def place_of_ptr(timeline: Timeline, ptr: int) -> int:
    """Return the place of the area that a ptr stands for."""
    percpu = timeline.machine.bitmap
    return ptr if percpu is None else percpu.addr_of(ptr)


def _place_reader(timeline: Timeline) -> Callable[[Placed], int]:
    """Return what reads the place of an event."""
    if timeline.machine.bitmap is None:
        return lambda event: event.ptr
    return lambda event: event.base_addr + event.off


def _first_places(timeline: Timeline) -> dict[int, None]:
    if timeline.machine.bitmap is None:
        return dict.fromkeys(areas_at_beginning(timeline))
    return {
        base + bit * MIN_ALLOC_BYTES: None
        for base, areas in first_areas(timeline).items()
        for bit, _ in areas
    }


def first_areas(timeline: Timeline) -> FirstAreas:
    """Return the areas, in bits, that were there when the record began, by base address of their chunk."""
    found: FirstAreas = {}
    for name, part in timeline.keyframe_parts(0).items():
        if name.startswith("chunk."):
            chunk = load_chunk(cast("Dump", part))
            areas = tuple(chunk.areas())
            if areas:
                found[chunk.base_addr] = areas
    return found


def input_of(timeline: Timeline, at: EventAt) -> Input | None:
    """Return the input that led to an event, None if none did or it cannot be told.

    An allocation or a free is the work of the newest call with the same arguments on that CPU;
    anything else of the newest input of that CPU, unless a kworker has taken over since.
    """
    index = timeline.inputs_before(at.step)
    for number in range(index - 1, max(index - INPUTS_BACK_MAX, 0) - 1, -1):
        given = timeline.input_at(number)
        if given.cpu == at.cpu and _leads_to(given, at):
            by_kworker = not isinstance(at.event, PLACED) and given.do != "kworker"
            return None if by_kworker and _kworker_began(timeline, given.step, at) else given
    return None


def _leads_to(given: Input, at: EventAt) -> bool:
    event, args = at.event, given.args
    if isinstance(event, PercpuFreePercpu):
        return given.do == "adopt_free" or (given.do == "free_percpu" and args == (event.ptr,))
    if not isinstance(event, PercpuAllocPercpu):
        return True
    if given.do == "adopt_alloc":
        return len(args) > 1 and args[1] == event.off
    if given.do != "pcpu_alloc" or len(args) != len(("size", "align", "reserved", "gfp", "site")):
        return False
    size, _, reserved, gfp, site = args
    return (
        isinstance(size, int)
        and event.size in (size, size + ALLOC_SIZE_ROUND & ~ALLOC_SIZE_ROUND)
        and bool(reserved) == event.reserved
        and (gfp, site) == (event.gfp_flags, event.call_site)
    )


def _kworker_began(timeline: Timeline, since: int, at: EventAt) -> bool:
    for number in range(timeline.events_before(at.step) - 1, -1, -1):
        row = timeline.event_at(number)
        if row.step <= since:
            return False
        if row.cpu == at.cpu and isinstance(row.event, WorkBegan):
            return True
    return False
