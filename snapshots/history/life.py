"""The life of an allocation: every time a place was allocated and freed, in order, from the run's events.

    ptr 0x37000    born ───── freed    reused ── freed    reused ────── now
                   step 12    step 80  step 95 …

A place is a __percpu pointer at which areas begin. What was there when the run began has no event of its
birth; the first keyframe knows it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from kernel_sim.events import EventAt, PercpuAllocPercpu, PercpuFreePercpu
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from kernel_sim.percpu.state import Dump, load_chunk
from snapshots.history.change_index import Search
from snapshots.history.first_areas import areas_at_beginning
from snapshots.timeline import Timeline

THERE, BORN, FREED, REUSED = "there", "born", "freed", "reused"
ROWS_MAX: Final = 10_000


class LifeRow(NamedTuple):
    """One turn: there (from the beginning), born, freed or reused; size_bytes is None of a free.

    event: its number in the run, -1 for what was there from the beginning.
    """

    what: str
    step: int
    cpu: int
    size_bytes: int | None
    call_site: str
    event: int


def life_of(timeline: Timeline, ptr: int) -> Search[tuple[LifeRow, ...]]:
    """Find every turn in the life of a place, oldest first, at most ROWS_MAX; yields steps looked at."""
    rows: list[LifeRow] = []
    size_bytes = _size_at_beginning(timeline, ptr)
    if size_bytes:
        rows.append(LifeRow(THERE, timeline.first_step, -1, size_bytes, "", -1))
    for number, head in enumerate(timeline.heads):
        yield head.first_step
        for at, row in enumerate(timeline.body(number).events, head.first_event):
            if isinstance(row.event, PercpuAllocPercpu | PercpuFreePercpu) and row.event.ptr == ptr:
                rows.append(_turn(row, at, is_first=not rows))
                if len(rows) >= ROWS_MAX:
                    return tuple(rows)
    return tuple(rows)


def _turn(at: EventAt, number: int, *, is_first: bool) -> LifeRow:
    event = at.event
    if isinstance(event, PercpuAllocPercpu):
        what = BORN if is_first else REUSED
        return LifeRow(what, at.step, at.cpu, event.size, event.call_site, number)
    return LifeRow(FREED, at.step, at.cpu, None, "", number)


def _size_at_beginning(timeline: Timeline, ptr: int) -> int:
    """Return the size of the area that was at a place when the run began, 0 if none was."""
    percpu = timeline.machine.bitmap
    if percpu is None:
        return areas_at_beginning(timeline).get(ptr, 0)
    addr = percpu.addr_of(ptr)
    for name, part in timeline.keyframe_parts(0).items():
        if not name.startswith("chunk."):
            continue
        chunk = load_chunk(cast("Dump", part))
        bit, odd = divmod(addr - chunk.base_addr, MIN_ALLOC_BYTES)
        nr_bits = 0 if odd or bit < 0 else chunk.area_bits(bit)
        if nr_bits:
            return nr_bits * MIN_ALLOC_BYTES
    return 0
