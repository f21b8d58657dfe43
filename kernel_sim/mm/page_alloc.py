"""Page allocator of the whole machine: which zone of which node serves a request.

    alloc_pages(gfp, order, node 1)     nodes by distance from 1, zones downwards in each

        node 1: Normal ► DMA32 ► DMA    node 0: Normal ► DMA32 ► DMA    node 3: …

What the gfp flags exclude is left out: zones too high for the device, other nodes with
__GFP_THISNODE. A page may therefore be remote; node_of_pfn() tells where it really is, and
numa_miss counts it.

Memory set aside at boot (memblock's) is taken from the same free blocks, whole pages at a time.
Source: mm/page_alloc.c and mm/memblock.c, Linux 6.1.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypedDict

from kernel_sim.alignment import align_down, align_up, is_power_of_two
from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.buddy import MAX_PAGE_ORDER, PfnRange, merged_ranges
from kernel_sim.mm.gfp import GFP_THISNODE
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.zone import (
    ZONE_NAMES,
    MemoryRange,
    Zone,
    ZoneState,
    build_zones,
    highest_zone,
    whole_pages,
)

_MAX_NUMNODES = 1024
_PENALTY_FOR_NODE_WITH_CPUS = 1


class PageAllocatorState(TypedDict):
    """A PageAllocator as builtin types; counters are by position in distances, that is by node."""

    memory: list[tuple[int, list[tuple[int, int]]]]
    distances: list[list[int]]
    nodes_with_cpus: list[int]
    zones: list[ZoneState]
    numa_hit: list[int]
    numa_miss: list[int]
    numa_foreign: list[int]
    fail_after: int


@dataclass(slots=True)
class PageAllocator:
    """Zones of all nodes and the order in which they are tried.

    memory: ranges of physical addresses by node; a node may have none.
    distances: square table, 10 = local; its size says how many nodes there are.
    numa_hit, numa_miss: by node that gave the block: was it the one preferred? numa_foreign: by
    preferred node, blocks that another one had to give.
    fail_after: -1 never; n: n more injectable requests may succeed, then all fail until it is set
    again.
    """

    memory: dict[int, tuple[MemoryRange, ...]]
    distances: tuple[tuple[int, ...], ...]
    nodes_with_cpus: tuple[int, ...]
    fail_after: int = -1
    zones: tuple[Zone, ...] = field(init=False)
    numa_hit: list[int] = field(init=False)
    numa_miss: list[int] = field(init=False)
    numa_foreign: list[int] = field(init=False)
    _zonelists: dict[tuple[int, int], tuple[Zone, ...]] = field(init=False, repr=False)
    _page_ranges: list[tuple[int, int, Zone]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nr_nodes = len(self.distances)
        _check_topology(self.memory, self.distances, self.nodes_with_cpus)
        self.numa_hit = [0] * nr_nodes
        self.numa_miss = [0] * nr_nodes
        self.numa_foreign = [0] * nr_nodes
        self._use_zones(
            tuple(
                zone
                for node in sorted(self.memory)
                for zone in build_zones(node, self.memory[node])
            )
        )

    @property
    def nr_free_pages(self) -> int:
        """Free pages of all nodes."""
        return sum(zone.buddy.nr_free_pages for zone in self.zones)

    def zonelist(self, node: int) -> tuple[Zone, ...]:
        """Return all zones in the order in which a request of this node tries them."""
        return self._zonelists[node, len(ZONE_NAMES) - 1]

    def fallback_order(self, node: int) -> tuple[int, ...]:
        """Return the nodes with memory in the order in which a request of this node tries them."""
        return tuple(dict.fromkeys(zone.node for zone in self.zonelist(node)))

    def zones_of(self, node: int) -> tuple[Zone, ...]:
        """Return a node's zones, low ones first."""
        return tuple(zone for zone in self.zones if zone.node == node)

    def alloc_pages(
        self, *, gfp: int, order: int, node: int, injectable: bool = False
    ) -> int | None:
        """Take a block of 2^order pages, as near to node as the flags and free memory permit.

        Returns its first pfn, or None: no memory, or an injected failure of an injectable request.
        Source: get_page_from_freelist(), Linux 6.1, without watermarks and reclaim.
        """
        if order < 0:
            raise KernelBug(
                f"node {node} asked for a block of order {order}; the lowest order is 0"
            )
        if order > MAX_PAGE_ORDER or (injectable and self._fails_by_injection()):
            return None
        zonelist = self._zonelists[node, highest_zone(gfp)]
        this_node_only = gfp & GFP_THISNODE != 0
        for zone in zonelist:
            if this_node_only and zone.node != node:
                return None
            pfn = zone.buddy.alloc(order)
            if pfn is not None:
                self._count(zone.node, zonelist[0].node)
                return pfn
        return None

    def free_pages(self, pfn: int, order: int) -> None:
        """Give back a block; DoubleFree if it is not allocated, BadAccess if it is not memory."""
        self.zone_of_pfn(pfn).buddy.free(pfn, order)

    def zone_of_pfn(self, pfn: int) -> Zone:
        """Return the zone that page pfn lies in; BadAccess if there is no such memory."""
        index = bisect_right(self._page_ranges, pfn, key=lambda row: row[0]) - 1
        if index >= 0 and pfn < self._page_ranges[index][1]:
            return self._page_ranges[index][2]
        raise BadAccess(
            f"page {pfn:#x} (physical {pfn << PAGE_SHIFT:#x}) is not memory of any node"
        )

    def node_of_pfn(self, pfn: int) -> int:
        """Return the node that page pfn lies on; BadAccess if there is no such memory."""
        return self.zone_of_pfn(pfn).node

    def reserve(
        self,
        *,
        node: int,
        nr_bytes: int,
        align_bytes: int,
        top_down: bool = True,
        min_phys: int = 0,
    ) -> int | None:
        """Set memory of a node aside and return its physical address, or None if no hole is large
        enough.

        The highest place is taken, or with top_down=False the lowest, but never below min_phys and
        never page 0. Size and alignment are rounded up to whole pages.
        Source: memblock_find_in_range_node(), Linux 6.1; falling back to other nodes is the
        caller's.
        """
        if not is_power_of_two(align_bytes) or nr_bytes <= 0:
            raise ConfigError(
                f"cannot reserve {nr_bytes} bytes aligned to {align_bytes} on node {node}"
            )
        nr_pages = align_up(nr_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        align_pages = max(align_bytes >> PAGE_SHIFT, 1)
        min_pfn = max(align_up(min_phys, PAGE_SIZE_BYTES) >> PAGE_SHIFT, 1)
        ranges = self._free_ranges_of(node)
        for start_pfn, end_pfn in reversed(ranges) if top_down else ranges:
            lowest_pfn = align_up(max(start_pfn, min_pfn), align_pages)
            pfn = align_down(end_pfn - nr_pages, align_pages) if top_down else lowest_pfn
            if lowest_pfn <= pfn and pfn + nr_pages <= end_pfn:
                self._reserve_pages(pfn, pfn + nr_pages)
                return pfn << PAGE_SHIFT
        return None

    def reserve_at(self, start_phys: int, end_phys: int) -> None:
        """Set aside every page that these addresses touch.

        Raises BadAccess if part of it is no memory, KernelBug if part is not free.
        """
        self._reserve_pages(*_pages_touched(start_phys, end_phys))

    def release(self, start_phys: int, end_phys: int) -> None:
        """Free the reserved pages that lie whole in these addresses; DoubleFree if one is not
        reserved.

        Source: memblock_free() of memory whose end the caller did not need.
        """
        for pages in whole_pages(((start_phys, end_phys),)):
            parts = self._parts_by_zone(*pages)
            for start_pfn, end_pfn, zone in parts:
                if not zone.buddy.is_reserved(start_pfn, end_pfn):
                    raise DoubleFree(f"pages {start_pfn:#x}-{end_pfn:#x} are not all reserved")
            for start_pfn, end_pfn, zone in parts:
                zone.buddy.release(start_pfn, end_pfn)

    def dump(self) -> PageAllocatorState:
        """Return the whole state as builtin types."""
        return {
            "memory": [(node, list(self.memory[node])) for node in sorted(self.memory)],
            "distances": [list(row) for row in self.distances],
            "nodes_with_cpus": list(self.nodes_with_cpus),
            "zones": [zone.dump() for zone in self.zones],
            "numa_hit": list(self.numa_hit),
            "numa_miss": list(self.numa_miss),
            "numa_foreign": list(self.numa_foreign),
            "fail_after": self.fail_after,
        }

    @classmethod
    def load(cls, state: PageAllocatorState) -> PageAllocator:
        """Return a PageAllocator in the state that dump() described."""
        allocator = cls(
            memory={
                node: tuple((start, end) for start, end in ranges)
                for node, ranges in state["memory"]
            },
            distances=tuple(tuple(row) for row in state["distances"]),
            nodes_with_cpus=tuple(state["nodes_with_cpus"]),
            fail_after=state["fail_after"],
        )
        allocator._use_zones(tuple(Zone.load(zone) for zone in state["zones"]))
        allocator.numa_hit = list(state["numa_hit"])
        allocator.numa_miss = list(state["numa_miss"])
        allocator.numa_foreign = list(state["numa_foreign"])
        return allocator

    def check_invariants(self) -> None:
        """Check every zone, and that the zones make up the nodes' memory; raise InvariantBroken."""
        for zone in self.zones:
            zone.check_invariants()
        for node, ranges in self.memory.items():
            in_zones = [pages for zone in self.zones_of(node) for pages in zone.buddy.memory]
            if merged_ranges(in_zones) != merged_ranges(whole_pages(ranges)):
                raise InvariantBroken(f"the zones of node {node} do not make up its memory")
        if sum(self.numa_miss) != sum(self.numa_foreign):
            raise InvariantBroken("numa_miss and numa_foreign count different numbers of blocks")

    def _use_zones(self, zones: tuple[Zone, ...]) -> None:
        """Take over zones and derive from them who is tried when and which pages are whose."""
        self.zones = zones
        self._page_ranges = sorted(
            ((start, end, zone) for zone in zones for start, end in zone.buddy.memory),
            key=lambda row: row[:2],
        )
        for (_, end, _), (start, _, zone) in zip(
            self._page_ranges, self._page_ranges[1:], strict=False
        ):
            if start < end:
                raise ConfigError(
                    f"memory of node {zone.node} at {start << PAGE_SHIFT:#x} overlaps"
                )
        nodes_with_memory = tuple(dict.fromkeys(zone.node for zone in zones))
        fallback_orders = build_fallback_orders(
            self.distances, nodes_with_memory, self.nodes_with_cpus
        )
        high_first = {node: self.zones_of(node)[::-1] for node in nodes_with_memory}
        self._zonelists = {}
        for node, order in enumerate(fallback_orders):
            whole = tuple(zone for other in order for zone in high_first[other])
            for highest in range(len(ZONE_NAMES)):
                self._zonelists[node, highest] = tuple(z for z in whole if z.index <= highest)

    def _fails_by_injection(self) -> bool:
        if self.fail_after > 0:
            self.fail_after -= 1
            return False
        return self.fail_after == 0

    def _count(self, given_by: int, preferred: int) -> None:
        """Source: zone_statistics(), Linux 6.1."""
        if given_by == preferred:
            self.numa_hit[given_by] += 1
        else:
            self.numa_miss[given_by] += 1
            self.numa_foreign[preferred] += 1

    def _free_ranges_of(self, node: int) -> tuple[PfnRange, ...]:
        return merged_ranges(
            [pages for zone in self.zones_of(node) for pages in zone.buddy.free_ranges()]
        )

    def _reserve_pages(self, start_pfn: int, end_pfn: int) -> None:
        """Set pages aside, whatever zones they lie in; all or, with KernelBug, none."""
        parts = self._parts_by_zone(start_pfn, end_pfn)
        for part_start, part_end, zone in parts:
            taken_pfn = zone.buddy.find_not_free(part_start, part_end)
            if taken_pfn is not None:
                raise KernelBug(
                    f"cannot reserve {start_pfn << PAGE_SHIFT:#x}-{end_pfn << PAGE_SHIFT:#x}: "
                    f"page {taken_pfn:#x} of node {zone.node} is not free"
                )
        for part_start, part_end, zone in parts:
            zone.buddy.reserve(part_start, part_end)

    def _parts_by_zone(self, start_pfn: int, end_pfn: int) -> list[tuple[int, int, Zone]]:
        """Cut pages where one stretch of memory ends; BadAccess if some of them are not memory."""
        parts: list[tuple[int, int, Zone]] = []
        while start_pfn < end_pfn:
            zone = self.zone_of_pfn(start_pfn)
            stretch_end = next(end for start, end in zone.buddy.memory if start <= start_pfn < end)
            part_end = min(end_pfn, stretch_end)
            parts.append((start_pfn, part_end, zone))
            start_pfn = part_end
        return parts


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


def _check_topology(
    memory: dict[int, tuple[MemoryRange, ...]],
    distances: tuple[tuple[int, ...], ...],
    nodes_with_cpus: tuple[int, ...],
) -> None:
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


def _pages_touched(start_phys: int, end_phys: int) -> PfnRange:
    return start_phys >> PAGE_SHIFT, align_up(end_phys, PAGE_SIZE_BYTES) >> PAGE_SHIFT
