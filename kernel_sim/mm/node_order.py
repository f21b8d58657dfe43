"""Node order: which node helps out when the one that was asked has nothing left.

    distances   node 0: 10 15 21 31     of node 0:  0, 1, 2, 3
                node 1: 15 10 25 21     of node 1:  1, 0, 3, 2

Source: find_next_best_node() and build_zonelists() in mm/page_alloc.c, Linux 6.1.
"""

from __future__ import annotations

from kernel_sim.errors import ConfigError
from kernel_sim.mm.zone import ZONE_NAMES, MemoryRange, Zone, whole_pages

_MAX_NUMNODES = 1024
_PENALTY_FOR_NODE_WITH_CPUS = 1


def build_fallback_orders(
    distances: tuple[tuple[int, ...], ...],
    nodes_with_memory: tuple[int, ...],
    nodes_with_cpus: tuple[int, ...],
) -> tuple[tuple[int, ...], ...]:
    """Return for every node the nodes with memory, nearest first.

    Of equally near nodes the next higher one, without CPUs, and less often first in its distance
    group comes first. The load of a node that is still to be chosen does not change while one order
    is built, so sorting once chooses as the kernel's repeated search does.
    Source: find_next_best_node() and build_zonelists(), Linux 6.1.
    """
    has_cpus = dict.fromkeys(nodes_with_cpus, _PENALTY_FOR_NODE_WITH_CPUS)
    node_load = [0] * len(distances)
    orders: list[tuple[int, ...]] = []
    for local, row in enumerate(distances):
        cost = {
            node: (row[node] + (node < local) + has_cpus.get(node, 0)) * _MAX_NUMNODES
            + node_load[node]
            for node in nodes_with_memory
            if node != local
        }
        order = sorted(cost, key=cost.__getitem__)
        previous = local
        for node in order:
            if row[node] != row[previous]:
                node_load[node] += 1
            previous = node
        orders.append((local, *order) if local in nodes_with_memory else tuple(order))
    return tuple(orders)


def build_zonelists(
    zones: tuple[Zone, ...], fallback_orders: tuple[tuple[int, ...], ...]
) -> dict[tuple[int, int], tuple[Zone, ...]]:
    """Return by node and index of the highest zone allowed: the zones in the order of trying.

    Nodes by their order, zones downwards in each. Source: build_zonelists_in_node_order(), 6.1.
    """
    high_first: dict[int, list[Zone]] = {}
    for zone in reversed(zones):
        high_first.setdefault(zone.node, []).append(zone)
    zonelists: dict[tuple[int, int], tuple[Zone, ...]] = {}
    for node, order in enumerate(fallback_orders):
        whole = tuple(zone for other in order for zone in high_first[other])
        for highest in range(len(ZONE_NAMES)):
            zonelists[node, highest] = tuple(zone for zone in whole if zone.index <= highest)
    return zonelists


def check_topology(
    memory: dict[int, tuple[MemoryRange, ...]],
    distances: tuple[tuple[int, ...], ...],
    nodes_with_cpus: tuple[int, ...],
) -> None:
    """Raise ConfigError unless every node has its row of distances and some node has memory."""
    nr_nodes = len(distances)
    for node, row in enumerate(distances):
        if len(row) != nr_nodes:
            raise ConfigError(
                f"distances of node {node}: expected {nr_nodes} numbers, got {len(row)}"
            )
    for node in (*memory, *nodes_with_cpus):
        if not 0 <= node < nr_nodes:
            raise ConfigError(f"node {node} has no row in distances, which has {nr_nodes}")
    if not any(whole_pages(ranges) for ranges in memory.values()):
        raise ConfigError("no node has memory: expected at least one whole page")
