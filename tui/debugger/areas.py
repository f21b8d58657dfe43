"""Areas of a chunk: which one holds an offset, and who made it.

    alloc map    1111 1111 0000 0000 1111        a live area runs from a bound to the next bound,
    bound map    1         1         1           a free run from an area's end to the next area
                 [  area ][ free run][ area

Who made an area is not in the chunk; the run's events tell it, as far back as they go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_sim.events import EventAt, PercpuAllocPercpu
from kernel_sim.inputs import Input
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_BYTES
from tui.debugger.births import input_of, place_of_ptr
from tui.debugger.table import Cell

if TYPE_CHECKING:
    from tui.debugger.session import Session

BEFORE_RECORD = "unknown (before the record began)"
UNDER_WAY = "being allocated: its call has not ended"


@dataclass(frozen=True, slots=True)
class Area:
    """A live area, or a free run, of a chunk; bytes."""

    offset: int
    size: int
    is_live: bool


def area_owner(session: Session, chunk_base: int, off: int) -> tuple[EventAt | None, Input | None]:
    """Return the allocation of the live area at an offset and the input that asked for it.

    None for what began before the record did, or whose call has not ended.
    """
    last = session.births.last_event(session.timeline, chunk_base, off)
    if last is None or not isinstance(last.event, PercpuAllocPercpu):
        return None, None
    return last, input_of(session.timeline, last)


def birth_facts(session: Session, chunk_base: int, off: int) -> list[tuple[str, Cell]]:
    """Return call site, task, born step and log line of a live area, as far as they are known."""
    return _facts_at(session, chunk_base + off)


def birth_facts_of_ptr(session: Session, ptr: int) -> list[tuple[str, Cell]]:
    """Return the same of the live area that a ptr stands for, on any per-CPU system."""
    return _facts_at(session, place_of_ptr(session.timeline, ptr))


def _facts_at(session: Session, place: int) -> list[tuple[str, Cell]]:
    last = session.births.last_event(session.timeline, place, 0)
    if last is None and session.births.is_from_before(session.timeline, place, 0):
        return [("call_site", BEFORE_RECORD)]
    if last is None or not isinstance(last.event, PercpuAllocPercpu):
        return [("call_site", UNDER_WAY)]
    given = input_of(session.timeline, last)
    facts: list[tuple[str, Cell]] = [
        ("call_site", last.event.call_site),
        ("born_step", last.step),
        ("born_cpu", last.cpu),
    ]
    if given is not None and given.by:
        facts.append(("task", given.by))
    if given is not None and given.line:
        facts.append(("log_line", given.line))
    return facts


def area_around(chunk: Chunk, off: int) -> Area:
    """Return the live area or the free run that holds an offset of the served part of a chunk."""
    bit = off // MIN_ALLOC_BYTES
    index, at = divmod(bit, BLOCK_BITS)
    if chunk.alloc_map[index] >> at & 1:
        start = _last_set(chunk.bound_map, bit)
        size_bytes = chunk.area_bits(start) * MIN_ALLOC_BYTES
        return Area(start * MIN_ALLOC_BYTES, size_bytes, True)
    start = _last_set(chunk.alloc_map, bit) + 1
    end = _next_set(chunk.alloc_map, bit, chunk.nr_bits)
    return Area(start * MIN_ALLOC_BYTES, (end - start) * MIN_ALLOC_BYTES, False)


def _last_set(words: list[int], bit: int) -> int:
    """Return the last set bit up to and including bit, -1 without one."""
    index, at = divmod(bit, BLOCK_BITS)
    below = words[index] & (2 << at) - 1
    while not below and index:
        index -= 1
        below = words[index]
    return index * BLOCK_BITS + below.bit_length() - 1 if below else -1


def _next_set(words: list[int], bit: int, limit: int) -> int:
    index, at = divmod(bit, BLOCK_BITS)
    above = words[index] >> at
    if above:
        return bit + (above & -above).bit_length() - 1
    for later in range(index + 1, limit // BLOCK_BITS):
        if words[later]:
            return later * BLOCK_BITS + (words[later] & -words[later]).bit_length() - 1
    return limit
