"""Where the groups of an embedded first chunk would lie in memory that is still empty.

    node 0 |      ................  group 0 |        each group as high as it fits, on its own node;
    node 1 |            group 2 | group 1   |        if that has no room, on the nearest that has

A real boot has other things in memory already, so its addresses are lower; what counts here is
whether there is room at all, and addresses to go on with where nobody knows better.
Source: Linux 6.1 mm/percpu.c, pcpu_fc_alloc(); memblock hands out top-down. (Linux falls back to
any node; the nearest is one of these, and what the machine's owner would want.)
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_sim.alignment import align_down
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.unit_layout import AllocInfo
from kernel_sim.topology import Topology


def find_group_addrs(
    info: AllocInfo, topology: Topology, memory: Sequence[Sequence[PhysRange]]
) -> tuple[int | None, ...]:
    """Return the physical address of each group, None for one that no node can hold.

    memory[node] lists the node's ranges. Addresses are multiples of the layout's atom.
    """
    free = [
        [(r.first_pfn << PAGE_SHIFT, r.end_pfn << PAGE_SHIFT) for r in ranges if r.nr_pages]
        for ranges in memory
    ]
    addrs: list[int | None] = []
    for group in info.groups:
        size_bytes = info.group_size_bytes(group)
        own = topology.node_of_cpu[group.first_cpu]
        addr = _take_highest(free[own], size_bytes, info.atom_size_bytes)
        if addr is None:
            for node in topology.nodes_by_distance(own):
                addr = _take_highest(free[node], size_bytes, info.atom_size_bytes)
                if addr is not None:
                    break
        addrs.append(addr)
    return tuple(addrs)


def _take_highest(free: list[tuple[int, int]], size_bytes: int, align_bytes: int) -> int | None:
    """Take size_bytes out of the free extents (start, end), as high as they fit."""
    best, best_addr = -1, -1
    for index, (start, end) in enumerate(free):
        addr = align_down(end - size_bytes, align_bytes)
        if addr >= start and addr > best_addr:
            best, best_addr = index, addr
    if best < 0:
        return None
    # What is left above is less than one alignment, and no group is that small.
    free[best] = (free[best][0], best_addr)
    return best_addr
