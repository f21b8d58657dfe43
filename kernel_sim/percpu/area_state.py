"""The state of an allocator with area maps as plain data: one part for the lists, one for each chunk.

system            chunks in order, lists, counters, locks
system.chunk.N    its entries, hint, pages; -1 is the reserved chunk
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kernel_sim.component import from_plain, to_plain
from kernel_sim.errors import KernelBug
from kernel_sim.percpu.area_chunk import AreaChunk, AreaChunkRow
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.same_state import is_same

LISTS_PART: Final = "system"
CHUNK_PREFIX: Final = "system.chunk."


@dataclass(frozen=True, slots=True)
class AreaLists:
    """What is not a chunk's own; chunks are named by number."""

    numbers: tuple[int, ...]
    lists: tuple[tuple[int, ...], ...]
    next_number: int
    warn_limit: int
    holders: tuple[int, ...]


def dump_areas(percpu: AreaPercpu, cache: Mapping[str, object]) -> dict[str, object]:
    """Return all parts; one that did not change is the object that is in cache."""
    lists = to_plain(_lists_of(percpu))
    known = cache.get(LISTS_PART)
    parts: dict[str, object] = {LISTS_PART: known if known == lists else lists}
    for number, chunk in percpu.chunks.items():
        name = f"{CHUNK_PREFIX}{number}"
        part = cache.get(name)
        if chunk.is_changed or part is None:
            part = to_plain(chunk.state_row())
            chunk.changed = chunk.area_map.changed = False
        parts[name] = part
    return parts


def _lists_of(percpu: AreaPercpu) -> AreaLists:
    return AreaLists(
        numbers=tuple(percpu.chunks),
        lists=tuple(tuple(one.number for one in members) for members in percpu.slots.lists),
        next_number=percpu.next_number,
        warn_limit=percpu.warn_limit,
        holders=tuple(lock.holder for lock in percpu.locks),
    )


def load_areas(
    percpu: AreaPercpu, parts: Mapping[str, object], cache: Mapping[str, object]
) -> None:
    """Take over a dumped state; chunks whose part is the one in cache stay as they are.

    Raises KernelBug for parts that cannot be of this allocator.
    """
    lists = from_plain(AreaLists, parts.get(LISTS_PART), LISTS_PART)
    chunks: dict[int, AreaChunk] = {}
    for number in lists.numbers:
        name = f"{CHUNK_PREFIX}{number}"
        part, held = parts.get(name), percpu.chunks.get(number)
        if held is None or held.is_changed or cache.get(name) is not part:
            held = _chunk_of(percpu, from_plain(AreaChunkRow, part, name), name)
        if held.number != number:
            raise KernelBug(f"{name} is of chunk {held.number}")
        chunks[number] = held
    if len(lists.lists) != len(percpu.slots.lists) or len(lists.holders) != len(percpu.locks):
        raise KernelBug(f"{LISTS_PART}: lists or locks of another stage")
    strange = [number for members in lists.lists for number in members if number not in chunks]
    if strange:
        raise KernelBug(f"{LISTS_PART}: chunk {strange[0]} is on a list and is not there")
    if any(holder < -1 for holder in lists.holders):
        raise KernelBug(f"{LISTS_PART}: a lock is held by a CPU that cannot be")
    percpu.chunks, percpu.chunk_by_base, percpu.chunk_bases = {}, {}, []
    for chunk in chunks.values():
        percpu.add_chunk(chunk)
    for slot, members in enumerate(lists.lists):
        percpu.slots.lists[slot][:] = [chunks[number] for number in members]
    percpu.next_number, percpu.warn_limit = lists.next_number, lists.warn_limit
    for lock, holder in zip(percpu.locks, lists.holders, strict=True):
        lock.holder = holder


def _chunk_of(percpu: AreaPercpu, row: AreaChunkRow, name: str) -> AreaChunk:
    if row.nr_pages << 12 != percpu.unit_size_bytes or not all(row.entries):
        raise KernelBug(f"{name}: a chunk of {row.nr_pages} pages, {len(row.entries)} entries")
    if any(not 0 <= start < end <= row.nr_pages for start, end in row.populated_runs):
        raise KernelBug(f"{name}: pages that a unit of {row.nr_pages} has not")
    return row.chunk()


def unnoticed_change(percpu: AreaPercpu, cache: Mapping[str, object]) -> str:
    """Return the chunk that changed without saying so, "" if all are honest."""
    for number, chunk in percpu.chunks.items():
        known = cache.get(f"{CHUNK_PREFIX}{number}")
        is_honest = chunk.is_changed or known is None
        if not is_honest and not is_same(known, to_plain(chunk.state_row())):
            return f"chunk {number}"
    return ""
