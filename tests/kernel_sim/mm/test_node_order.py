"""Node order: zonelists; the orders themselves are tested with the page allocator."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.mm.node_order import build_fallback_orders, build_zonelists, check_topology
from kernel_sim.mm.zone import build_zones

MIB = 1 << 20
GIB = 1 << 30


def test_a_zonelist_goes_through_nodes_by_distance_and_down_in_each() -> None:
    zones = (
        *build_zones(0, ((0, GIB), (4 * GIB, 5 * GIB))),
        *build_zones(1, ((5 * GIB, 6 * GIB),)),
    )
    orders = build_fallback_orders(((10, 20), (20, 10)), (0, 1), (0, 1))
    zonelists = build_zonelists(zones, orders)
    names = {
        key: [(zone.node, zone.name) for zone in zonelist] for key, zonelist in zonelists.items()
    }
    assert names[0, 2] == [(0, "Normal"), (0, "DMA32"), (0, "DMA"), (1, "Normal")]
    assert names[1, 2] == [(1, "Normal"), (0, "Normal"), (0, "DMA32"), (0, "DMA")]
    assert names[1, 1] == names[0, 1] == [(0, "DMA32"), (0, "DMA")]
    assert names[1, 0] == [(0, "DMA")]


def test_high_memory_comes_first_on_i386() -> None:
    zones = build_zones(0, ((0, 2 * GIB),), "i386")
    zonelists = build_zonelists(zones, ((0,),))
    assert [zone.name for zone in zonelists[0, 2]] == ["HighMem", "Normal", "DMA"]
    assert [zone.name for zone in zonelists[0, 1]] == ["Normal", "DMA"]


def test_a_topology_without_its_distances_or_memory_is_refused() -> None:
    check_topology({0: ((0, MIB),)}, ((10, 20), (20, 10)), (0, 1))
    with pytest.raises(ConfigError, match="distances of node 0: expected 1 numbers, got 2"):
        check_topology({0: ((0, MIB),)}, ((10, 20),), (0,))
    with pytest.raises(ConfigError, match="node 3 has no row"):
        check_topology({0: ((0, MIB),)}, ((10,),), (3,))
    with pytest.raises(ConfigError, match="no node has memory"):
        check_topology({}, ((10,),), (0,))
