"""Zone figures: put into zones, and found out when they are not what they should be."""

from __future__ import annotations

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page_lists import ListSize, PageLists
from kernel_sim.mm.zone import NUMA_HIT, Zone, build_zones
from kernel_sim.mm.zone_figures import (
    check_figures,
    check_numa_counters,
    figures_of,
    min_free_kbytes_of,
    set_figures,
)

GIB = 1 << 30


def two_nodes(profile: str) -> tuple[Zone, ...]:
    zones = (
        *build_zones(0, ((0, GIB),)),
        *build_zones(1, ((4 * GIB, 5 * GIB),)),
    )
    for zone in zones:
        zone.lists = PageLists(zone.buddy, profile)
    return zones


def test_each_profile_has_its_own_reserve() -> None:
    zones = two_nodes("modern")
    assert min_free_kbytes_of(zones, "plain", True) == 0
    assert min_free_kbytes_of(zones, "2.6.20", True) == 5792
    assert min_free_kbytes_of(zones, "modern", False) == 5792
    assert min_free_kbytes_of(zones, "modern", True) == 3 * 512 * 11 * 4


def test_lists_share_the_low_mark_by_the_cpus_of_their_node() -> None:
    zones = two_nodes("modern")

    def highs(online: dict[int, int]) -> list[int]:
        rows = figures_of(
            zones, profile="modern", min_free_kbytes=67584, online_cpus_of_node=online
        )
        return [sizes[0].high_pages for _, sizes in rows]

    assert highs({0: 1, 1: 1}) == [165, 10395, 10560]
    assert highs({0: 1, 1: 4}) == [165, 10395, 2640]
    assert highs({0: 3}) == highs({0: 3, 1: 3})
    assert highs({}) == highs({0: 1, 1: 1})


def test_old_lists_are_sized_by_present_pages() -> None:
    zones = two_nodes("2.6.20")
    zones[2].buddy.reserve(4 * GIB >> 12, (4 * GIB >> 12) + 100000)
    rows = figures_of(zones, profile="2.6.20", min_free_kbytes=5792, online_cpus_of_node={0: 1})
    assert rows[2][1] == (ListSize(186, 31), ListSize(62, 15))
    assert rows[2][0].min_pages == 5792 // 4 * (1 << 18) // (1 << 19)


def test_figures_out_of_date_and_counters_that_differ_are_found() -> None:
    zones = two_nodes("modern")
    rows = figures_of(zones, profile="modern", min_free_kbytes=8000, online_cpus_of_node={})
    with pytest.raises(InvariantBroken, match="node 0 zone DMA: watermarks or list sizes"):
        check_figures(zones, rows)
    set_figures(zones, rows)
    check_figures(zones, rows)
    check_numa_counters(zones, ([0, 0], [0, 0], [0, 0]))
    zones[2].numa[NUMA_HIT] = 3
    with pytest.raises(InvariantBroken, match="node 1 counts hit, miss, foreign"):
        check_numa_counters(zones, ([0, 0], [0, 0], [0, 0]))
