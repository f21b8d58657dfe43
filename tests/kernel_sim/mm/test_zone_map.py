"""Zone map: pages to zones, holes to places, and reservations across zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, KernelBug
from kernel_sim.mm.zone import build_zones
from kernel_sim.mm.zone_map import ZoneMap, find_hole, free_lowmem_ranges

MIB = 1 << 20


def small_map() -> ZoneMap:
    """Return node 0 around node 1: 4 … 20 MiB with a hole at 6 … 8 MiB, 12 … 14 is node 1's."""
    zones = (
        *build_zones(0, ((4 * MIB, 6 * MIB), (8 * MIB, 12 * MIB), (14 * MIB, 20 * MIB))),
        *build_zones(1, ((12 * MIB, 14 * MIB),)),
    )
    return ZoneMap(zones)


def test_every_page_has_the_zone_of_its_stretch() -> None:
    zone_map = small_map()
    for mib, node, name in ((4, 0, "DMA"), (11, 0, "DMA"), (12, 1, "DMA"), (16, 0, "DMA32")):
        zone = zone_map.zone_of_pfn(mib * MIB >> 12)
        assert (zone.node, zone.name) == (node, name)
    for mib in (0, 6, 7, 20):
        with pytest.raises(BadAccess, match=f"physical {mib * MIB:#x}"):
            zone_map.zone_of_pfn(mib * MIB >> 12)


def test_nodes_that_overlap_are_refused() -> None:
    zones = (*build_zones(0, ((0, 2 * MIB),)), *build_zones(1, ((MIB, 3 * MIB),)))
    with pytest.raises(ConfigError, match="memory of node 1 at 0x100000 overlaps"):
        ZoneMap(zones)


def test_a_reservation_crosses_zones_and_nodes_or_does_nothing() -> None:
    zone_map = small_map()
    zone_map.reserve(0xB00, 0x1001)
    assert [zone.buddy.nr_reserved_pages for zone in zone_map.zones] == [0x300, 1, 0x200]
    with pytest.raises(KernelBug, match="page 0xb00 of node 0 is not free"):
        zone_map.reserve(0xA00, 0xC00)
    with pytest.raises(BadAccess):
        zone_map.reserve(0x500, 0x700)
    with pytest.raises(DoubleFree, match="not all reserved"):
        zone_map.release(0xA00 << 12, 0xC00 << 12)
    assert [zone.buddy.nr_reserved_pages for zone in zone_map.zones] == [0x300, 1, 0x200]
    zone_map.release((0xB00 << 12) - 5, (0xFFF << 12) + 4097)
    assert [zone.buddy.nr_reserved_pages for zone in zone_map.zones] == [0, 1, 0]


def test_boot_does_not_find_high_memory() -> None:
    zones = build_zones(0, ((15 * MIB, 20 * MIB), (895 * MIB, 900 * MIB)), "i386")
    assert free_lowmem_ranges(zones) == ((0xF00, 0x1400), (895 * 256, 896 * 256))


@given(
    st.lists(st.integers(0, 60), unique=True, min_size=2, max_size=8).map(sorted),
    st.integers(1, 12),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, 40),
    st.booleans(),
)
def test_a_hole_is_found_where_trying_every_page_finds_it(
    edges: list[int], nr_pages: int, align_pages: int, min_pfn: int, top_down: bool
) -> None:
    ranges = tuple(zip(edges[::2], edges[1::2], strict=False))
    free = [pfn for start, end in ranges for pfn in range(start, end)]
    places = [
        pfn
        for pfn in range(min_pfn, 61)
        if pfn % align_pages == 0
        and any(start <= pfn and pfn + nr_pages <= end for start, end in ranges)
        and all(page in free for page in range(pfn, pfn + nr_pages))
    ]
    expected = (max(places) if top_down else min(places)) if places else None
    found = find_hole(
        ranges, nr_pages=nr_pages, align_pages=align_pages, min_pfn=min_pfn, top_down=top_down
    )
    assert found == expected
