"""Zone map: which zone a page lies in, and memory set aside at boot across all of them.

    pfn     1 … 9e   100 … fff   1000 … 1f3ff        100000 …
    zone    DMA      DMA         DMA32 of node 0     Normal of node 1

Nodes may be interleaved; each stretch of memory has its row. Reserved pages are whole pages, as
memblock hands them to the page allocator.
Source: mm/memblock.c, Linux 6.1.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from kernel_sim.alignment import align_down, align_up
from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, KernelBug
from kernel_sim.mm.buddy import PfnRange, merged_ranges
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.zone import Zone, whole_pages

ZonePart = tuple[int, int, Zone]
"""First pfn, the one after the last, and the zone all of them lie in."""


@dataclass(slots=True)
class ZoneMap:
    """All stretches of memory, ascending. Raises ConfigError if two overlap."""

    zones: tuple[Zone, ...]
    rows: list[ZonePart] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rows = sorted(
            ((start, end, zone) for zone in self.zones for start, end in zone.buddy.memory),
            key=_place_of,
        )
        for (_, end, _), (start, _, zone) in pairwise(self.rows):
            if start < end:
                raise ConfigError(
                    f"memory of node {zone.node} at {start << PAGE_SHIFT:#x} overlaps"
                )

    def zone_of_pfn(self, pfn: int) -> Zone:
        """Return the zone that page pfn lies in; BadAccess if there is no such memory."""
        return self._row_of(pfn)[2]

    def reserve(self, start_pfn: int, end_pfn: int) -> None:
        """Set pages aside, whatever zones they lie in; all or, with KernelBug, none."""
        parts = self._parts(start_pfn, end_pfn)
        for part_start, part_end, zone in parts:
            taken_pfn = zone.buddy.find_not_free(part_start, part_end)
            if taken_pfn is not None:
                raise KernelBug(
                    f"cannot reserve {start_pfn << PAGE_SHIFT:#x}-{end_pfn << PAGE_SHIFT:#x}: "
                    f"page {taken_pfn:#x} of node {zone.node} is not free"
                )
        for part_start, part_end, zone in parts:
            zone.buddy.reserve(part_start, part_end)

    def release(self, start_phys: int, end_phys: int) -> None:
        """Free the reserved pages that lie whole in these addresses.

        Raises DoubleFree, and nothing is changed, if one of them is not reserved.
        """
        for pages in whole_pages(((start_phys, end_phys),)):
            parts = self._parts(*pages)
            for start_pfn, end_pfn, zone in parts:
                if not zone.buddy.is_reserved(start_pfn, end_pfn):
                    raise DoubleFree(f"pages {start_pfn:#x}-{end_pfn:#x} are not all reserved")
            for start_pfn, end_pfn, zone in parts:
                zone.buddy.release(start_pfn, end_pfn)

    def _row_of(self, pfn: int) -> ZonePart:
        index = bisect_right(self.rows, pfn, key=_start_of) - 1
        if index >= 0 and pfn < self.rows[index][1]:
            return self.rows[index]
        raise BadAccess(
            f"page {pfn:#x} (physical {pfn << PAGE_SHIFT:#x}) is not memory of any node"
        )

    def _parts(self, start_pfn: int, end_pfn: int) -> list[ZonePart]:
        """Cut pages where one stretch of memory ends; BadAccess if some of them are not memory."""
        parts: list[ZonePart] = []
        while start_pfn < end_pfn:
            _, stretch_end, zone = self._row_of(start_pfn)
            parts.append((start_pfn, min(end_pfn, stretch_end), zone))
            start_pfn = parts[-1][1]
        return parts


def find_hole(
    ranges: tuple[PfnRange, ...], *, nr_pages: int, align_pages: int, min_pfn: int, top_down: bool
) -> int | None:
    """Return the first pfn of the highest (or lowest) aligned place that is large enough, or None.

    ranges: free memory, ascending. Source: __memblock_find_range_top_down(), Linux 6.1.
    """
    for start_pfn, end_pfn in reversed(ranges) if top_down else ranges:
        lowest_pfn = align_up(max(start_pfn, min_pfn), align_pages)
        pfn = align_down(end_pfn - nr_pages, align_pages) if top_down else lowest_pfn
        if lowest_pfn <= pfn and pfn + nr_pages <= end_pfn:
            return pfn
    return None


def free_lowmem_ranges(zones: tuple[Zone, ...]) -> tuple[PfnRange, ...]:
    """Return the free memory of zones, ascending, neighbours joined; without high memory."""
    return merged_ranges(
        [pages for zone in zones if not zone.is_highmem for pages in zone.buddy.free_ranges()]
    )


def _start_of(row: ZonePart) -> int:
    return row[0]


def _place_of(row: ZonePart) -> PfnRange:
    return row[:2]
