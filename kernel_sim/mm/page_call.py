"""One request to a page allocator that has watermarks: the fast way, then the slow one.

    fast    every zone of the list, down to its low mark
    slow    down to the min mark, or below it for who may        ── __GFP_HIGH, GFP_ATOMIC
            then no marks                                        ── __GFP_MEMALLOC
            once more, after all CPUs' lists came back           ── who may wait, not __GFP_NORETRY
            no marks                                             ── __GFP_NOFAIL that may wait

2.6.20 has no slow way for GFP_THISNODE, which is __GFP_THISNODE, __GFP_NOWARN and __GFP_NORETRY.
There is nothing to write out or to swap, so direct reclaim finds no pages but those on the CPUs'
lists. kswapd has no work either, and no process is ever killed.
Source: mm/page_alloc.c, get_page_from_freelist() and __alloc_pages_slowpath(), Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernel_sim.mm.gfp import (
    GFP_DIRECT_RECLAIM,
    GFP_MEMALLOC,
    GFP_NOFAIL,
    GFP_NORETRY,
    GFP_NOWARN,
    GFP_THISNODE,
    gfp_to_text,
)
from kernel_sim.mm.page_lists import COLD, GFP_COLD, HOT
from kernel_sim.mm.watermarks import (
    ALLOC_NO_WATERMARKS,
    PROFILE_2_6_20,
    alloc_flags_of,
    watermark_ok,
)
from kernel_sim.mm.zone import Zone

_ONLY_HERE_2_6_20 = GFP_THISNODE | GFP_NOWARN | GFP_NORETRY


@dataclass(slots=True)
class PageCall:
    """What is asked for, by whom, and in which zones to look; highest: index of the highest zone.

    kind: the list that single pages come from, HOT or COLD.
    """

    gfp: int
    order: int
    cpu: int
    zonelist: tuple[Zone, ...]
    highest: int
    profile: str
    kind: int = HOT

    def __post_init__(self) -> None:
        if self.gfp & GFP_COLD and self.profile == PROFILE_2_6_20:
            self.kind = COLD


def fast_page(call: PageCall) -> tuple[Zone, int] | None:
    """Return zone and pfn from the first zone that has a block above its low mark, or None."""
    order, highest = call.order, call.highest
    for zone in call.zonelist:
        marks = zone.marks
        if zone.buddy.nr_free_pages <= marks.low_pages + marks.protection[highest]:
            continue
        if order and not _above(zone, call, marks.low_pages, 0):
            continue
        pfn = _take(zone, call)
        if pfn is not None:
            return zone, pfn
    return None


def slow_page(call: PageCall, drain_all: Callable[[], int]) -> tuple[Zone, int] | None:
    """Return zone and pfn as far down as the flags permit, or None: no memory.

    drain_all gives back the pages on all CPUs' lists and says how many there were.
    """
    gfp = call.gfp
    if call.profile == PROFILE_2_6_20 and gfp & _ONLY_HERE_2_6_20 == _ONLY_HERE_2_6_20:
        return None
    alloc_flags = alloc_flags_of(gfp, call.profile)
    got = _from_zonelist(call, alloc_flags_of(gfp & ~GFP_MEMALLOC, call.profile))
    if got is None and alloc_flags & ALLOC_NO_WATERMARKS:
        got = _from_zonelist(call, alloc_flags)
    may_reclaim = gfp & GFP_DIRECT_RECLAIM and not gfp & GFP_NORETRY
    if got is None and may_reclaim and drain_all():
        got = _from_zonelist(call, alloc_flags)
    if got is None and gfp & GFP_NOFAIL and gfp & GFP_DIRECT_RECLAIM:
        got = _from_zonelist(call, ALLOC_NO_WATERMARKS)
    return got


def _from_zonelist(call: PageCall, alloc_flags: int) -> tuple[Zone, int] | None:
    for zone in call.zonelist:
        if alloc_flags & ALLOC_NO_WATERMARKS or _above(
            zone, call, zone.marks.min_pages, alloc_flags
        ):
            pfn = _take(zone, call)
            if pfn is not None:
                return zone, pfn
    return None


def _above(zone: Zone, call: PageCall, mark_pages: int, alloc_flags: int) -> bool:
    return watermark_ok(
        zone.buddy,
        order=call.order,
        mark_pages=mark_pages,
        reserve_pages=zone.marks.protection[call.highest],
        alloc_flags=alloc_flags,
        profile=call.profile,
    )


def _take(zone: Zone, call: PageCall) -> int | None:
    """Source: rmqueue(), Linux 6.1; buffered_rmqueue(), 2.6.20."""
    if call.order == 0 and zone.lists is not None:
        return zone.lists.alloc(call.cpu, call.kind)
    return zone.buddy.alloc(call.order)


def allocation_failure_text(comm: str, order: int, gfp: int) -> str:
    """Return the first line of what the kernel prints when a request fails without __GFP_NOWARN.

    comm: name of the running task; the CPU sets that 6.1 appends to the line are not modelled.
    Source: warn_alloc() and __alloc_pages_slowpath(), Linux 6.1.
    """
    mode = f"{gfp:#x}" if gfp else "0"
    return (
        f"{comm}: page allocation failure: order:{order}, mode:{mode}({gfp_to_text(gfp)}), "
        "nodemask=(null)"
    )
