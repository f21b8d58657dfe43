"""Zones: the limits of x86-64 and what lies between them."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import GFP_DMA, GFP_DMA32, GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from kernel_sim.mm.zone import Zone, build_zones, highest_zone, whole_pages

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
