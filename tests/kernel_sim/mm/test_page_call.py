"""One request among watermarks: who gets the last pages, and what is said when nobody does."""

from __future__ import annotations

import pytest

from kernel_sim.mm.gfp import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_KERNEL,
    GFP_MEMALLOC,
    GFP_NOFAIL,
    GFP_NORETRY,
    GFP_NOWAIT,
    GFP_NOWARN,
    GFP_THISNODE,
)
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.page_call import PageCall, allocation_failure_text, fast_page, slow_page
from kernel_sim.mm.page_lists import COLD, GFP_COLD, HOT

MIB = 1 << 20
GIB = 1 << 30


def one_zone(profile: str = "modern") -> PageAllocator:
    """Return 16 MiB of Normal memory: min 200, low 250, protection none."""
    return PageAllocator(
        {0: ((4 * GIB, 4 * GIB + 16 * MIB),)},
        ((10,),),
        (0,),
        profile=profile,
        min_free_kbytes=800,
        online_cpus_of_node={0: 1},
    )


def use_up(pages: PageAllocator, gfp: int, order: int = 1) -> int:
    """Take blocks until there are no more; return the pages left free."""
    while pages.alloc_pages(gfp=gfp, order=order, node=0) is not None:
        pass
    return pages.nr_free_pages


def test_each_kind_of_request_stops_at_its_own_mark() -> None:
    pages = one_zone()
    zone = pages.zones[0]
    assert (pages.marks_of(zone).min_pages, pages.marks_of(zone).low_pages) == (200, 250)
    assert use_up(pages, GFP_KERNEL) == 200
    assert use_up(pages, GFP_NOWAIT) == 200
    assert use_up(pages, GFP_ATOMIC) == 200 - 100 - 25 + 1  # two at a time
    assert use_up(pages, GFP_KERNEL) == 76
    assert use_up(pages, GFP_KERNEL | GFP_MEMALLOC) == 0


def test_a_request_that_must_not_fail_ignores_the_marks_at_last() -> None:
    pages = one_zone()
    use_up(pages, GFP_KERNEL)
    assert pages.alloc_pages(gfp=GFP_KERNEL, order=1, node=0) is None
    assert pages.alloc_pages(gfp=GFP_KERNEL | GFP_NOFAIL, order=1, node=0) is not None
    assert pages.nr_free_pages == 198


def test_another_zone_above_its_low_mark_is_preferred_to_digging() -> None:
    pages = PageAllocator(
        {0: ((4 * GIB, 4 * GIB + 16 * MIB),), 1: ((5 * GIB, 5 * GIB + 16 * MIB),)},
        ((10, 20), (20, 10)),
        (0, 1),
        profile="modern",
        min_free_kbytes=1600,
    )
    nodes = []
    for _ in range(4096):
        pfn = pages.alloc_pages(gfp=GFP_KERNEL, order=1, node=0)
        if pfn is None:
            break
        nodes.append(pages.node_of_pfn(pfn))
    first_remote = nodes.index(1)
    assert (4096 - 250) // 2 <= first_remote <= (4096 - 248) // 2
    assert nodes[first_remote:].index(0) == first_remote
    assert [zone.buddy.nr_free_pages for zone in pages.zones] == [200, 200]


def test_low_zones_are_protected_from_requests_that_have_higher_ones() -> None:
    pages = PageAllocator(
        {0: ((0, 32 * MIB), (4 * GIB, 8 * GIB))}, ((10,),), (0,), profile="modern"
    )
    dma, dma32, normal = pages.zones
    assert pages.marks_of(dma).protection == (0, 16, (4096 + (1 << 20)) // 256)
    assert pages.marks_of(dma32).protection == (0, 0, (1 << 20) // 256)
    while normal.buddy.nr_free_pages > normal.marks.low_pages:
        assert pages.alloc_pages(gfp=GFP_KERNEL, order=10, node=0) is not None
    assert dma32.buddy.nr_free_pages == 4096
    assert use_up(pages, GFP_KERNEL) - 4096 - 4096 - normal.marks.min_pages in (0, 1)
    assert pages.alloc_pages(gfp=GFP_KERNEL | GFP_DMA, order=0, node=0) is not None


@pytest.mark.parametrize(
    ("gfp", "is_met"),
    [(GFP_KERNEL, True), (GFP_KERNEL | GFP_NORETRY, False), (GFP_NOWAIT, False)],
)
def test_who_may_wait_gets_the_pages_from_all_lists(gfp: int, is_met: bool) -> None:
    pages = one_zone()
    held = [pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, cpu=1) for _ in range(100)]
    use_up(pages, GFP_KERNEL)
    for pfn in held:
        pages.free_pages(pfn or 0, 0, cpu=1)
    assert pages.nr_list_pages >= 100
    pfn = pages.alloc_pages(gfp=gfp, order=3, node=0, cpu=0)
    assert (pfn is not None) == is_met
    assert (pages.nr_list_pages == 0) == is_met
    pages.check_invariants()


def test_the_slow_way_drains_only_if_the_first_look_fails() -> None:
    pages = one_zone()
    pages.marks_of(pages.zones[0])
    drained = []

    def drain() -> int:
        drained.append(1)
        return 0

    call = PageCall(GFP_KERNEL, 0, 0, pages.zones, 2, "modern")
    assert fast_page(call) == (pages.zones[0], 4 * GIB >> 12)
    assert slow_page(call, drain) is not None
    assert drained == []
    pages.zones[0].buddy.reserve((4 * GIB + 2 * MIB) >> 12, (4 * GIB + 16 * MIB) >> 12)
    call = PageCall(GFP_KERNEL, 9, 0, pages.zones, 2, "modern")
    assert fast_page(call) is None
    assert slow_page(call, drain) is None
    assert drained == [1]


def test_only_2_6_20_knows_cold_requests() -> None:
    for profile, kind in (("2.6.20", COLD), ("modern", HOT)):
        assert PageCall(GFP_KERNEL | GFP_COLD, 0, 0, (), 2, profile).kind == kind
        assert PageCall(GFP_KERNEL, 0, 0, (), 2, profile).kind == HOT


def test_a_failure_is_told_in_the_kernels_words() -> None:
    assert allocation_failure_text("modprobe", 0, GFP_KERNEL) == (
        "modprobe: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL), nodemask=(null)"
    )
    assert allocation_failure_text("swapper/0", 4, 0) == (
        "swapper/0: page allocation failure: order:4, mode:0(none), nodemask=(null)"
    )


def test_who_may_ignore_marks_takes_what_lies_above_them_first() -> None:
    """A node below its min mark keeps its reserve as long as another has pages to give."""
    pages = PageAllocator(
        {0: ((4 * GIB, 4 * GIB + 16 * MIB),), 1: ((5 * GIB, 5 * GIB + 16 * MIB),)},
        ((10, 20), (20, 10)),
        (0, 1),
        profile="modern",
        min_free_kbytes=1600,
    )
    while pages.zones[0].buddy.nr_free_pages > 200:
        assert pages.alloc_pages(gfp=GFP_KERNEL | GFP_THISNODE, order=1, node=0) is not None
    pages.zones[1].buddy.reserve(5 * GIB >> 12, (5 * GIB >> 12) + 4096 - 230)
    pages.zones[1].marks = pages.zones[0].marks  # its low mark is out of reach, its min mark is not
    pfn = pages.alloc_pages(gfp=GFP_KERNEL | GFP_MEMALLOC, order=1, node=0)
    assert pfn is not None
    assert pages.node_of_pfn(pfn) == 1


def test_who_must_not_fail_and_cannot_wait_fails_all_the_same() -> None:
    pages = one_zone()
    use_up(pages, GFP_KERNEL)
    assert pages.alloc_pages(gfp=GFP_NOWAIT | GFP_NOFAIL, order=1, node=0) is None


@pytest.mark.parametrize(("profile", "left"), [("2.6.20", 250), ("modern", 200)])
def test_in_2_6_20_gfp_thisnode_stops_at_the_low_mark(profile: str, left: int) -> None:
    pages = one_zone(profile)
    only_here = GFP_THISNODE | GFP_NOWARN | GFP_NORETRY
    assert left <= use_up(pages, GFP_KERNEL | only_here) <= left + 1
    assert use_up(pages, GFP_KERNEL | GFP_THISNODE) <= 201
