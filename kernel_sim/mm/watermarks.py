"""Watermarks: how much of a zone is kept back, for whom, and whether a request may still be met.

    free pages of a zone
    |……………………………|……………|……………|……………………………………………………►
    0            min    low    high
       reserves:   |      |      kswapd would sleep from here
       who may dig |      a fast request stops here: next zone
       deeper      a slow one stops here; GFP_ATOMIC and the like go below

On top of a mark comes the protection of low zones: what a request that could also have been met
from a higher zone must leave in a lower one.

All figures follow from the sizes of the zones and one number, min_free_kbytes. That comes from the
square root of the memory; khugepaged raises it, so that whole huge pages stay free. Watermark boost
and the high-order atomic reserve are not modelled.

Source: mm/page_alloc.c and mm/khugepaged.c, Linux 6.1; mm/page_alloc.c, 2.6.20.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final

from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import (
    GFP_ATOMIC_BIT,
    GFP_DIRECT_RECLAIM,
    GFP_HIGH,
    GFP_MEMALLOC,
    GFP_NOMEMALLOC,
)
from kernel_sim.mm.page import PAGE_SHIFT

PROFILE_PLAIN: Final = "plain"
PROFILE_2_6_20: Final = "2.6.20"
PROFILE_MODERN: Final = "modern"
PROFILES: Final = (PROFILE_PLAIN, PROFILE_2_6_20, PROFILE_MODERN)
"""How the page allocator keeps house: without lists and marks, as 2.6.20 did, as 6.1 does."""

ALLOC_HIGH: Final = 1
ALLOC_HARDER: Final = 2
ALLOC_NO_WATERMARKS: Final = 4

MIN_FREE_KBYTES_MIN: Final = 128
MIN_FREE_KBYTES_MAX: Final = 262144
MIN_FREE_KBYTES_MAX_2_6_20: Final = 65536
LOWMEM_RESERVE_RATIOS: Final = (256, 256, 32)
"""Of x86-64's DMA, DMA32, Normal; i386 has no DMA32."""

_SWAP_CLUSTER_MAX = 32
_HIGHMEM_MIN_PAGES_MAX = 128
_WATERMARK_SCALE_FACTOR = 10  # of 10,000: the marks lie at least 0.1 % of the zone apart
_PAGEBLOCK_PAGES = 512  # a huge page of 2 MiB
_MIGRATE_PCPTYPES = 3
_KHUGEPAGED_SHARE = 20  # at most one 20th of low memory


@dataclass(frozen=True, slots=True)
class ZoneSize:
    """What the figures of a zone are computed from; index: place among the node's zones."""

    node: int
    index: int
    nr_present_pages: int
    nr_managed_pages: int
    is_highmem: bool = False

    def nr_pages(self, profile: str) -> int:
        """Return the pages a profile counts: 2.6.20 the present ones, later kernels the managed."""
        return self.nr_present_pages if profile == PROFILE_2_6_20 else self.nr_managed_pages


@dataclass(frozen=True, slots=True)
class ZoneMarks:
    """Watermarks of a zone in pages; protection: pages to leave, by highest zone of a request."""

    min_pages: int
    low_pages: int
    high_pages: int
    protection: tuple[int, ...]


NO_MARKS: Final = ZoneMarks(0, 0, 0, (0, 0, 0))


def nr_free_buffer_pages(
    zones: tuple[ZoneSize, ...], profile: str, marks: tuple[ZoneMarks, ...] = ()
) -> int:
    """Return the pages above the high marks, without high memory; without marks, all pages.

    Source: nr_free_zone_pages(), Linux 6.1.
    """
    high_pages = [mark.high_pages for mark in marks] or [0] * len(zones)
    return sum(
        max(0, zone.nr_pages(profile) - high)
        for zone, high in zip(zones, high_pages, strict=True)
        if not zone.is_highmem
    )


def sqrt_min_free_kbytes(zones: tuple[ZoneSize, ...], profile: str) -> int:
    """Return min_free_kbytes as it follows from the size of low memory: 4 * sqrt(kilobytes).

    Source: calculate_min_free_kbytes(), Linux 6.1; init_per_zone_pages_min(), 2.6.20.
    """
    lowmem_kbytes = nr_free_buffer_pages(zones, profile) << (PAGE_SHIFT - 10)
    largest = MIN_FREE_KBYTES_MAX if profile == PROFILE_MODERN else MIN_FREE_KBYTES_MAX_2_6_20
    return min(max(isqrt(lowmem_kbytes * 16), MIN_FREE_KBYTES_MIN), largest)


def khugepaged_min_free_kbytes(zones: tuple[ZoneSize, ...]) -> int:
    """Return min_free_kbytes of a kernel with transparent huge pages switched on.

    For each zone with low memory: two page blocks, and one for every pair of migrate types; at most
    5 % of what lies above the high marks that hold before. Never less than the square root gives.
    Source: set_recommended_min_free_kbytes(), Linux 6.1.
    """
    before_kbytes = sqrt_min_free_kbytes(zones, PROFILE_MODERN)
    before = zone_marks(zones, min_free_kbytes=before_kbytes, profile=PROFILE_MODERN)
    nr_zones = sum(1 for zone in zones if zone.nr_managed_pages and not zone.is_highmem)
    recommended_pages = _PAGEBLOCK_PAGES * nr_zones * (2 + _MIGRATE_PCPTYPES * _MIGRATE_PCPTYPES)
    most_pages = nr_free_buffer_pages(zones, PROFILE_MODERN, before) // _KHUGEPAGED_SHARE
    recommended_kbytes = min(recommended_pages, most_pages) << (PAGE_SHIFT - 10)
    return max(recommended_kbytes, before_kbytes)


def zone_marks(
    zones: tuple[ZoneSize, ...], *, min_free_kbytes: int, profile: str
) -> tuple[ZoneMarks, ...]:
    """Return the marks of every zone, in the order given.

    Source: __setup_per_zone_wmarks(), Linux 6.1; setup_per_zone_pages_min(), 2.6.20.
    """
    pages_min = min_free_kbytes >> (PAGE_SHIFT - 10)
    nr_lowmem_pages = sum(zone.nr_pages(profile) for zone in zones if not zone.is_highmem)
    of_node: dict[int, list[ZoneSize]] = {}
    for zone in zones:
        of_node.setdefault(zone.node, []).append(zone)
    return tuple(
        _marks_of(
            zone,
            profile,
            pages_min * zone.nr_pages(profile) // max(nr_lowmem_pages, 1),
            _protection(zone, of_node[zone.node], profile),
        )
        for zone in zones
    )


def _marks_of(
    zone: ZoneSize, profile: str, share_pages: int, protection: tuple[int, ...]
) -> ZoneMarks:
    nr_pages = zone.nr_pages(profile)
    min_pages = share_pages
    if zone.is_highmem:
        min_pages = min(max(nr_pages // 1024, _SWAP_CLUSTER_MAX), _HIGHMEM_MIN_PAGES_MAX)
    if profile == PROFILE_2_6_20:
        low_pages, high_pages = min_pages + (share_pages >> 2), min_pages + (share_pages >> 1)
        return ZoneMarks(min_pages, low_pages, high_pages, protection)
    gap_pages = max(share_pages >> 2, nr_pages * _WATERMARK_SCALE_FACTOR // 10000)
    return ZoneMarks(min_pages, min_pages + gap_pages, min_pages + 2 * gap_pages, protection)


def _protection(zone: ZoneSize, zones_of_node: list[ZoneSize], profile: str) -> tuple[int, ...]:
    """Source: setup_per_zone_lowmem_reserve(), Linux 6.1."""
    # A zone's ratio goes with its name; on i386 index 1 is Normal, as is index 2 on x86-64.
    next_is_highmem = any(z.is_highmem for z in zones_of_node)
    ratio = LOWMEM_RESERVE_RATIOS[2 if next_is_highmem and zone.index else zone.index]
    by_index = {z.index: z.nr_pages(profile) for z in zones_of_node}
    above_pages = [
        sum(by_index.get(index, 0) for index in range(zone.index + 1, highest + 1))
        for highest in range(len(LOWMEM_RESERVE_RATIOS))
    ]
    return tuple(pages // ratio for pages in above_pages)


def alloc_flags_of(gfp: int, profile: str) -> int:
    """Return which reserves a slow request may touch.

    Source: gfp_to_alloc_flags() and __gfp_pfmemalloc_flags(), Linux 6.1; __alloc_pages(), 2.6.20,
    where whoever cannot wait may dig deeper.
    """
    if gfp & GFP_MEMALLOC and not gfp & GFP_NOMEMALLOC:
        return ALLOC_NO_WATERMARKS
    flags = ALLOC_HIGH if gfp & GFP_HIGH else 0
    if profile == PROFILE_2_6_20:
        harder = not gfp & GFP_DIRECT_RECLAIM
    else:
        harder = gfp & GFP_ATOMIC_BIT != 0 and not gfp & GFP_NOMEMALLOC
    return flags | ALLOC_HARDER if harder else flags


def watermark_ok(
    buddy: Buddy,
    *,
    order: int,
    mark_pages: int,
    reserve_pages: int,
    alloc_flags: int,
    profile: str,
) -> bool:
    """Say whether a block of 2^order pages may be taken and still leave the mark untouched.

    reserve_pages: the zone's protection against this kind of request.
    Source: __zone_watermark_ok(), Linux 6.1; zone_watermark_ok(), 2.6.20.
    """
    if alloc_flags & ALLOC_HIGH:
        mark_pages -= mark_pages // 2
    if alloc_flags & ALLOC_HARDER:
        mark_pages -= mark_pages // 4
    nr_free_pages = buddy.nr_free_pages - (1 << order) + 1
    if nr_free_pages <= mark_pages + reserve_pages:
        return False
    if order == 0:
        return True
    if profile != PROFILE_2_6_20:
        return buddy.has_block(order)
    for smaller_order in range(order):  # what is too small does not count, but the mark halves
        nr_free_pages -= buddy.free_blocks(smaller_order) << smaller_order
        mark_pages >>= 1
        if nr_free_pages <= mark_pages:
            return False
    return True
