"""Can a bitmap allocator that was loaded from a stranger's keyframe be this machine's?

first chunks     where boot puts them, as large as boot makes them
later chunks     a unit long, all of it served, their address space or block where the chunk is
figures          areas counted from the bitmaps, hints inside of them
numbers          never used twice; counters as the chunks have them

What a dump must be to be made into a chunk at all, state.py knows. Whether hints and pages are true, which
is slow to prove, is left to bitmap_check.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.bitmap import WARN_LIMIT, BitmapPercpu
from kernel_sim.percpu.bitmap_check import (
    check_chunk_areas,
    check_counts,
    check_lists,
    check_places,
)
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.state import STATISTICS

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

COUNT_MAX = 1 << 62


class ChunkShape(NamedTuple):
    """What never changes about a chunk, in bytes and pages."""

    base_addr: int
    nr_pages: int
    start_offset: int
    end_offset: int
    immutable: bool


class BootShape(NamedTuple):
    """What boot decides about an allocator for good; first chunks by number."""

    first_chunks: Mapping[int, ChunkShape]
    reserved_offset: int
    first_offset: int
    free_hint_fixed: bool


def shape_at_boot(percpu: BitmapPercpu) -> BootShape:
    """Return what a loaded state must agree with. For the moment when boot has made the first chunks."""
    first = {number: _shape_of(chunk) for number, chunk in percpu.chunks.items()}
    return BootShape(first, percpu.reserved_offset, percpu.first_offset, percpu.free_hint_fixed)


def check_loaded_bitmap(machine: Machine, boot: BootShape) -> None:
    """Raise InvariantBroken for chunks, lists and counters that this machine cannot have come to."""
    percpu = machine.percpu
    held = (percpu.reserved_offset, percpu.first_offset, percpu.free_hint_fixed)
    if held != boot[1:]:
        raise InvariantBroken(f"percpu: offsets of the first chunk {held}; expected {boot[1:]}")
    missing = [number for number in boot.first_chunks if number not in percpu.chunks]
    if missing or any(number < RESERVED for number in percpu.chunks):
        raise InvariantBroken(f"percpu: chunks {list(percpu.chunks)}; expected the first one, too")
    for number, chunk in percpu.chunks.items():
        if chunk.number != number:
            raise InvariantBroken(f"chunk {number} says that it is chunk {chunk.number}")
        expected = boot.first_chunks.get(number) or _later_shape(machine, chunk)
        if _shape_of(chunk) != expected:
            raise InvariantBroken(f"chunk {number} is {_shape_of(chunk)}; expected {expected}")
        check_places(chunk)
        _check_figures_of(chunk)
    if len(percpu.chunk_by_base) != sum(number > 0 for number in percpu.chunks):
        raise InvariantBroken(
            "two chunks are at one address, or the reserved one is none of boot's"
        )
    check_lists(percpu)
    check_counts(machine)
    check_chunk_areas(machine)
    _check_figures(percpu)


def _shape_of(chunk: Chunk) -> ChunkShape:
    return ChunkShape(
        chunk.base_addr, chunk.nr_pages, chunk.start_offset, chunk.end_offset, chunk.immutable
    )


def _later_shape(machine: Machine, chunk: Chunk) -> ChunkShape:
    """Return what a later chunk must be, at the place that its areas or its block give it."""
    percpu, places = machine.percpu, machine.places
    if percpu.backing.name == "vm":
        starts = tuple(chunk.base_addr + offset for offset in places.group_offsets)
    else:
        starts = (chunk.base_addr - machine.arch.direct_map_addr >> PAGE_SHIFT,)
        _check_block(machine, starts[0], chunk)
    if chunk.data != starts:
        raise InvariantBroken(f"chunk {chunk.number}: its memory is at {chunk.data}, not {starts}")
    return ChunkShape(chunk.base_addr, percpu.unit_size_bytes >> PAGE_SHIFT, 0, 0, False)


def _check_block(machine: Machine, pfn: int, chunk: Chunk) -> None:
    """A km chunk is one block of the page allocator's."""
    nr_pages = machine.places.group_sizes[0] >> PAGE_SHIFT
    order = (nr_pages - 1).bit_length()
    if (pfn, order) not in machine.pages.zone_of_pfn(pfn).allocated_blocks():
        raise InvariantBroken(
            f"chunk {chunk.number}: page {pfn:#x} begins no block of order {order}"
        )


def _check_figures_of(chunk: Chunk) -> None:
    """Raise InvariantBroken for figures that lead out of the chunk's bitmap or of its pages."""
    for md in (chunk.md, *chunk.blocks):
        ends = md.scan_hint_start + md.scan_hint, md.contig_hint_start + md.contig_hint
        if not all(0 <= figure <= md.nr_bits for figure in (*md.row(), *ends)):
            raise InvariantBroken(f"chunk {chunk.number}: hints {md.row()} in {md.nr_bits} bits")
    held = chunk.nr_populated, chunk.nr_empty_pop_pages, chunk.max_alloc_bytes
    if chunk.populated.bit_count() != held[0] or min(held) < 0:
        raise InvariantBroken(f"chunk {chunk.number}: pages or bytes of {held}")


def _check_figures(percpu: BitmapPercpu) -> None:
    numbers = max(percpu.chunks), percpu.next_number
    if not numbers[0] < numbers[1] <= COUNT_MAX:
        raise InvariantBroken(f"the next chunk is {numbers[1]}, a number that was used")
    counters = [getattr(percpu.statistics, name) for name in STATISTICS]
    if not all(0 <= counter <= COUNT_MAX for counter in counters):
        raise InvariantBroken(f"percpu: statistics of {counters}")
    if not 0 <= percpu.warn_limit <= WARN_LIMIT:
        raise InvariantBroken(f"percpu: {percpu.warn_limit} warnings are left of {WARN_LIMIT}")
