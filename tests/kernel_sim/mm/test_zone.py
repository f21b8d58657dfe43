"""Zones: the limits of x86-64 and what lies between them."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import GFP_DMA, GFP_DMA32, GFP_HIGHMEM, GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from kernel_sim.mm.page_lists import ListSize, PageLists
from kernel_sim.mm.zone import (
    NUMA_COUNTERS,
    Zone,
    build_zones,
    check_arch,
    highest_zone,
    whole_pages,
)

MIB = 1 << 20
GIB = 1 << 30


def test_a_node_is_cut_at_16_mib_and_4_gib() -> None:
    zones = build_zones(3, ((0x1000, 0x9F000), (MIB, 3 * GIB), (4 * GIB, 5 * GIB)))
    assert [(zone.name, zone.node, zone.index) for zone in zones] == [
        ("DMA", 3, 0),
        ("DMA32", 3, 1),
        ("Normal", 3, 2),
    ]
    assert zones[0].buddy.memory == ((1, 0x9F), (0x100, 0x1000))
    assert zones[1].buddy.memory == ((0x1000, 3 * GIB >> 12),)
    assert zones[2].buddy.memory == ((4 * GIB >> 12, 5 * GIB >> 12),)


def test_a_zone_without_memory_does_not_exist() -> None:
    assert [zone.name for zone in build_zones(1, ((8 * GIB, 9 * GIB),))] == ["Normal"]
    assert build_zones(1, ()) == ()


def test_only_whole_pages_count() -> None:
    assert whole_pages(((0x800, 0x2FFF), (0x3001, 0x3FFF))) == ((1, 2),)


def test_overlapping_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlaps"):
        build_zones(0, ((0, 2 * MIB), (MIB, 3 * MIB)))


@pytest.mark.parametrize(
    ("gfp", "index"),
    [
        (GFP_KERNEL, 2),
        (GFP_HIGHUSER_MOVABLE, 2),
        (GFP_KERNEL | GFP_DMA32, 1),
        (GFP_KERNEL | GFP_DMA, 0),
    ],
)
def test_flags_limit_the_zone(gfp: int, index: int) -> None:
    assert highest_zone(gfp) == index


def test_a_zone_comes_back_from_its_dump() -> None:
    (zone,) = build_zones(2, ((GIB, 2 * GIB),))
    zone.buddy.alloc(3)
    zone.buddy.reserve((GIB >> 12) + 5000, (GIB >> 12) + 6000)
    loaded = Zone.load(zone.dump())
    assert loaded == zone
    loaded.check_invariants()


def test_memory_outside_the_limits_is_found() -> None:
    with pytest.raises(InvariantBroken, match="node 0 zone DMA holds pages 0x0-0x1001"):
        Zone("DMA", 0, Buddy(((0, 0x1001),))).check_invariants()


def test_i386_has_high_memory_from_896_mib_on() -> None:
    zones = build_zones(0, ((0, 2 * GIB), (4 * GIB, 5 * GIB)), "i386")
    assert [(zone.name, zone.index, zone.buddy.memory) for zone in zones] == [
        ("DMA", 0, ((0, 0x1000),)),
        ("Normal", 1, ((0x1000, 896 * 256),)),
        ("HighMem", 2, ((896 * 256, 2 * GIB >> 12), (4 * GIB >> 12, 5 * GIB >> 12))),
    ]
    for zone in zones:
        zone.check_invariants()
        assert Zone.load(zone.dump(), "i386") == zone
    with pytest.raises(ConfigError, match="lies beyond 0x1000000000, the end of what i386"):
        build_zones(0, ((64 * GIB, 65 * GIB),), "i386")


@pytest.mark.parametrize(
    ("gfp", "index"),
    [
        (GFP_KERNEL, 1),
        (GFP_KERNEL | GFP_DMA32, 1),
        (GFP_HIGHUSER_MOVABLE, 2),
        (GFP_KERNEL | GFP_HIGHMEM, 2),
        (GFP_KERNEL | GFP_DMA, 0),
    ],
)
def test_flags_limit_the_zone_on_i386(gfp: int, index: int) -> None:
    assert highest_zone(gfp, "i386") == index


def test_architectures_nobody_knows_are_refused() -> None:
    check_arch("i386")
    with pytest.raises(ConfigError, match="arch 'vax': expected one of x86-64, i386"):
        check_arch("vax")


def test_a_page_is_free_on_a_list_reserved_or_allocated() -> None:
    (zone,) = build_zones(0, ((GIB, GIB + MIB),))
    zone.lists = PageLists(zone.buddy, "modern", (ListSize(8, 2),))
    first = GIB >> 12
    zone.buddy.reserve(first + 128, first + 129)
    assert zone.lists.alloc(3) == first + 129
    assert zone.buddy.alloc(3) == first + 136
    assert [zone.owner_state_of(first + page) for page in (0, 128, 129, 130, 136, 143)] == [
        "free",
        "reserved",
        "allocated order 0",
        "pcp cpu 3",
        "allocated order 3",
        "allocated order 3",
    ]
    assert zone.allocated_blocks() == ((first + 129, 0), (first + 136, 3))
    assert (zone.nr_managed_pages, zone.nr_list_pages) == (255, 1)


def test_a_zone_checks_its_lists_too() -> None:
    (zone,) = build_zones(0, ((GIB, GIB + MIB),))
    zone.lists = PageLists(zone.buddy, "modern", (ListSize(8, 2),))
    zone.lists.cpu_of_page[GIB >> 12] = 0
    with pytest.raises(InvariantBroken, match="on CPUs' lists"):
        zone.check_invariants()


def test_numa_counters_tell_who_gave_and_who_asked() -> None:
    near, far = (build_zones(node, ((GIB * (4 + node), GIB * (5 + node)),))[0] for node in (0, 1))
    near.count_numa(near, 0)
    far.count_numa(near, 0)
    far.count_numa(far, 1)
    assert dict(zip(NUMA_COUNTERS, near.numa, strict=True)) == {
        "numa_hit": 1, "numa_miss": 0, "numa_foreign": 1, "numa_local": 1, "numa_other": 0
    }  # fmt: skip
    assert far.numa == [1, 1, 0, 1, 1]
