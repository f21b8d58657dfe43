"""Is an allocator with area maps sound? Recomputed slowly, the first contradiction named.

every map        end to end, no two free neighbours, counts and hint right, as long as the unit
lists            every chunk on the list that its free bytes ask for (when no call is under way)
address space    later chunks have their areas, at the first chunk's distances
pages            every area has its pages, where the stage does not lose them by itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.area_chunk import FIRST, RESERVED, AreaChunk
from kernel_sim.percpu.area_memory import pages_of
from kernel_sim.percpu.area_percpu import AreaPercpu

if TYPE_CHECKING:
    from kernel_sim.machine import Machine


def check_areas(percpu: AreaPercpu, is_idle: bool) -> None:
    """Raise InvariantBroken at the first chunk or list that is not as it should be."""
    for number, chunk in percpu.chunks.items():
        if chunk.number != number:
            raise InvariantBroken(f"chunk {number} says that it is chunk {chunk.number}")
        chunk.area_map.check_invariants()
        end = chunk.area_map.end_bytes
        if end > percpu.unit_size_bytes or (number > FIRST and end != percpu.unit_size_bytes):
            raise InvariantBroken(f"chunk {number}: its map ends at offset {end}")
        if chunk.area_map.sizes.get(0, 0) >= 0 and number <= FIRST:
            raise InvariantBroken(f"chunk {number}: static variables are free")
        if is_idle and not percpu.stage.frees_at_once:
            _check_populated(chunk)
        if chunk.immutable and number > FIRST:
            raise InvariantBroken(f"chunk {number} is immutable, and no part of the first chunk")
    last = max(percpu.chunks, default=FIRST)
    if percpu.next_number <= last or min(percpu.chunks, default=FIRST) < RESERVED:
        raise InvariantBroken(f"chunk {percpu.next_number} comes next, and chunk {last} is there")
    bases = sorted(chunk.base_addr for chunk in percpu.chunks.values() if chunk.number > FIRST)
    if bases != percpu.chunk_bases or len(percpu.chunk_by_base) != len(bases):
        raise InvariantBroken("the chunks that are found by address are not those there are")
    if is_idle:
        percpu.slots.check_invariants(list(percpu.chunks.values()))


def _check_populated(chunk: AreaChunk) -> None:
    for offset, size_bytes in chunk.areas():
        start, end = pages_of(offset, size_bytes)
        if any(chunk.unpopulated_runs(start, end)):
            raise InvariantBroken(f"chunk {chunk.number}: the area at {offset} lacks pages")


def check_chunk_areas(machine: Machine, percpu: AreaPercpu) -> None:
    """Raise InvariantBroken unless every later chunk has its areas in vmalloc space."""
    places = machine.places
    for chunk in percpu.chunks.values():
        if chunk.number <= FIRST:
            continue
        expected = tuple(chunk.base_addr + offset for offset in places.group_offsets)
        if chunk.data != expected:
            raise InvariantBroken(f"chunk {chunk.number}: its areas are not where its units are")
        for start, size in zip(chunk.data, places.group_sizes, strict=True):
            area = machine.vmalloc.find_area(start)
            if area is None or area.start != start or area.size_bytes < size:
                raise InvariantBroken(
                    f"chunk {chunk.number}: no area of {size} bytes at {start:#x}"
                )
            if start in machine.vmalloc.lazy:
                raise InvariantBroken(f"chunk {chunk.number}: its area at {start:#x} was freed")


def check_blocks(machine: Machine, percpu: AreaPercpu, order: int) -> None:
    """Raise InvariantBroken unless every later chunk is a block of this order in the direct map."""
    for chunk in percpu.chunks.values():
        if chunk.number <= FIRST:
            continue
        start = chunk.base_addr + machine.places.group_offsets[0] - machine.arch.direct_map_addr
        if len(chunk.data) != 1 or chunk.data[0] << PAGE_SHIFT != start:
            raise InvariantBroken(f"chunk {chunk.number}: its block is not where its units are")
        if machine.pages.owner_state_of(chunk.data[0]) != f"allocated order {order}":
            raise InvariantBroken(f"chunk {chunk.number}: no block of order {order} is there")


def check_large_pages(machine: Machine, percpu: AreaPercpu, shift: int) -> None:
    """Raise InvariantBroken unless units that should be large pages are."""
    for chunk in percpu.chunks.values():
        if len(chunk.large_pfns) not in (0, len(machine.places.cpus)):
            raise InvariantBroken(f"chunk {chunk.number}: large pages for some CPUs only")
        for cpu, pfn in zip(machine.places.cpus, chunk.large_pfns, strict=False):
            leaf = machine.space.find_leaf(chunk.base_addr + machine.places.unit_offsets[cpu])
            mask = machine.space.mode.pfn_mask & -(1 << shift)
            if leaf is None or leaf[2] != shift or (leaf[1] & mask) >> PAGE_SHIFT != pfn:
                raise InvariantBroken(f"chunk {chunk.number}: cpu {cpu} has no large page {pfn:#x}")
