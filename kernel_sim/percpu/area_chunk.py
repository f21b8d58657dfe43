"""A chunk of the allocator with area maps, and the one or two that describe the first chunk.

    first chunk       | static | reserved | dynamic |
    reserved chunk    [ -static  reserved ]               for modules, on no list
    chunk 0           [ -(static + reserved)  dynamic ]   all else
    without reserved  [ -static  dynamic ]

A later chunk is address space for every unit; its map begins as one free entry as large as a unit, and
pages come where areas need them, the same pages in every unit.
Source: pcpu_setup_first_chunk() and alloc_pcpu_chunk(), Linux 2.6.34; pcpu_setup_static(), February 2009.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.area_map import AreaMap

RESERVED: Final = -1
FIRST: Final = 0
BOOT_CAPACITY: Final = 2
"""Entries of the arrays that boot gives to the first chunk, before there is a slab."""


@dataclass(slots=True)
class AreaChunk:
    """One chunk. populated: bit i is set if page i of every unit is there.

    data: addresses of its vmalloc areas, or the first page of its block. large_pfns: the large page behind
    each unit, in the order of CPUs, empty while single pages are. written: somebody may have written to
    it, so an area that is given out must be cleared.
    """

    number: int
    base_addr: int
    nr_pages: int
    area_map: AreaMap
    populated: int = 0
    immutable: bool = False
    slot: int = -1
    data: tuple[int, ...] = ()
    large_pfns: tuple[int, ...] = ()
    written: bool = False
    changed: bool = True

    @classmethod
    def fresh(cls, *, number: int, base_addr: int, nr_pages: int) -> AreaChunk:
        """Return a wholly free chunk without pages."""
        unit_bytes = nr_pages << PAGE_SHIFT
        return cls(number, base_addr, nr_pages, AreaMap.of_entries([unit_bytes]))

    @property
    def is_changed(self) -> bool:
        """Whether it is no longer as it was last dumped."""
        return self.changed or self.area_map.changed

    @property
    def hidden_bytes(self) -> int:
        """Bytes at the start that are nobody's to free: static variables, and what other chunks serve."""
        if self.number not in (FIRST, RESERVED):
            return 0
        starts = self.area_map.starts
        return starts[1] if len(starts) > 1 else self.area_map.end_bytes

    def areas(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, bytes) of every area that somebody asked for."""
        hidden = self.hidden_bytes
        return ((start, size) for start, size in self.area_map.areas() if start >= hidden)

    def populated_runs(self, page_start: int, page_end: int) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each run of pages that are there."""
        return _runs(self.populated, page_start, page_end)

    def unpopulated_runs(self, page_start: int, page_end: int) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each run of pages that are not there."""
        return _runs(~self.populated, page_start, page_end)

    def set_populated(self, page_start: int, page_end: int, is_there: bool) -> None:
        """Note that pages have come or gone."""
        run = (1 << page_end - page_start) - 1 << page_start
        self.populated = self.populated | run if is_there else self.populated & ~run
        self.changed = True

    def state_row(self) -> AreaChunkRow:
        """Return the state that lasts."""
        area_map = self.area_map
        return AreaChunkRow(
            number=self.number,
            base_addr=self.base_addr,
            nr_pages=self.nr_pages,
            entries=tuple(area_map.entries()),
            contig_hint=area_map.contig_hint,
            capacity=area_map.capacity,
            populated_runs=tuple(self.populated_runs(0, self.nr_pages)),
            immutable=self.immutable,
            slot=self.slot,
            data=self.data,
            large_pfns=self.large_pfns,
            written=self.written,
        )


@dataclass(frozen=True, slots=True)
class AreaChunkRow:
    """A chunk as plain data: what is kept beside the entries follows from them."""

    number: int
    base_addr: int
    nr_pages: int
    entries: tuple[int, ...]
    contig_hint: int
    capacity: int
    populated_runs: tuple[tuple[int, int], ...]
    immutable: bool
    slot: int
    data: tuple[int, ...]
    large_pfns: tuple[int, ...]
    written: bool

    def chunk(self) -> AreaChunk:
        """Return the chunk in this state."""
        area_map = AreaMap.of_entries(list(self.entries), self.capacity)
        area_map.contig_hint = self.contig_hint
        area_map.changed = False
        chunk = AreaChunk(
            number=self.number,
            base_addr=self.base_addr,
            nr_pages=self.nr_pages,
            area_map=area_map,
            immutable=self.immutable,
            slot=self.slot,
            data=self.data,
            large_pfns=self.large_pfns,
            written=self.written,
        )
        for start, end in self.populated_runs:
            chunk.set_populated(start, end, is_there=True)
        chunk.changed = False
        return chunk


def first_chunks(
    *,
    base_addr: int,
    nr_pages: int,
    static_size_bytes: int,
    reserved_size_bytes: int,
    dyn_size_bytes: int,
) -> list[AreaChunk]:
    """Return the reserved chunk, if there is one, and chunk 0, if it has anything to serve.

    Where nothing is reserved chunk 0 is there even if nothing is left for it. All their pages are
    there for good.
    """
    chunks: list[AreaChunk] = []
    hidden_bytes = static_size_bytes
    if reserved_size_bytes:
        chunks.append(_first(RESERVED, base_addr, nr_pages, hidden_bytes, reserved_size_bytes))
        hidden_bytes += reserved_size_bytes
    if dyn_size_bytes or not reserved_size_bytes:
        chunks.append(_first(FIRST, base_addr, nr_pages, hidden_bytes, dyn_size_bytes))
    return chunks


def _first(
    number: int, base_addr: int, nr_pages: int, hidden_bytes: int, free_bytes: int
) -> AreaChunk:
    entries = [-hidden_bytes, free_bytes] if free_bytes else [-hidden_bytes]
    area_map = AreaMap.of_entries(entries, BOOT_CAPACITY)
    chunk = AreaChunk(number, base_addr, nr_pages, area_map, immutable=True)
    chunk.set_populated(0, nr_pages, is_there=True)
    return chunk


def static_chunk(
    *, base_addr: int, nr_pages: int, static_size_bytes: int, serves_rest: bool
) -> AreaChunk:
    """Return the first chunk of February 2009: pages for what is static, the rest as in any chunk.

    Its map has no array before the first allocation. serves_rest: or it is for static variables alone.
    """
    unit_bytes = nr_pages << PAGE_SHIFT
    rest_bytes = unit_bytes - static_size_bytes if serves_rest else 0
    entries = [-static_size_bytes, rest_bytes] if rest_bytes else [-static_size_bytes]
    chunk = AreaChunk(FIRST, base_addr, nr_pages, AreaMap.of_entries(entries, capacity=0))
    nr_static_pages = static_size_bytes + (1 << PAGE_SHIFT) - 1 >> PAGE_SHIFT
    chunk.set_populated(0, nr_static_pages, is_there=True)
    return chunk


def _runs(bits: int, page_start: int, page_end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of set bits between two positions."""
    at = page_start
    bits >>= at
    while at < page_end and bits:
        skipped = (bits & -bits).bit_length() - 1
        at += skipped
        bits >>= skipped
        if at >= page_end:
            return
        length = (~bits & bits + 1).bit_length() - 1
        end = min(at + length, page_end) if length >= 0 else page_end
        yield at, end
        bits >>= end - at
        at = end
