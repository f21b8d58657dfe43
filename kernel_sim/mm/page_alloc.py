"""Page allocator of the whole machine: which zone of which node serves a request.

    alloc_pages(gfp, order, node 1)     nodes by distance from 1, zones downwards in each

        node 1: Normal ► DMA32 ► DMA    node 0: Normal ► DMA32 ► DMA    node 3: …

What the gfp flags exclude is left out: zones too high for the device, other nodes with
__GFP_THISNODE. A page may therefore be remote; node_of_pfn() tells where it really is, and
numa_miss counts it.

Memory set aside at boot (memblock's) is taken from the same free blocks, whole pages at a time.

Three profiles (watermarks.py): "plain" has neither per-CPU page lists nor watermarks and goes
straight to the buddy allocators; "2.6.20" and "modern" have both (page_lists.py, page_call.py).
What these have beyond the plain state is in dump_lists(), so that dump() is the same for all.
Source: mm/page_alloc.c and mm/memblock.c, Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypedDict

from kernel_sim.alignment import align_up, is_power_of_two
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.buddy import MAX_PAGE_ORDER, merged_ranges
from kernel_sim.mm.fault_injection import FaultInjection, FaultInjectionState
from kernel_sim.mm.gfp import GFP_THISNODE
from kernel_sim.mm.node_order import build_fallback_orders, build_zonelists, check_topology
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_call import PageCall, fast_page, slow_page
from kernel_sim.mm.page_call import allocation_failure_text as allocation_failure_text
from kernel_sim.mm.page_lists import COLD, HOT, ListSize, PageLists, PageListsState
from kernel_sim.mm.watermarks import (
    PROFILE_2_6_20,
    PROFILE_MODERN,
    PROFILE_PLAIN,
    PROFILES,
    ZoneMarks,
)
from kernel_sim.mm.zone import (
    ARCH_X86_64,
    ZONE_NAMES,
    MemoryRange,
    Zone,
    ZoneState,
    build_zones,
    check_arch,
    highest_zone,
    whole_pages,
)
from kernel_sim.mm.zone_figures import (
    Figures,
    check_figures,
    check_numa_counters,
    figures_of,
    min_free_kbytes_of,
    set_figures,
)
from kernel_sim.mm.zone_map import ZoneMap, find_hole, free_lowmem_ranges

_NOT_PLAIN = ("online_cpus_of_node", "node_of_cpu", "min_free_kbytes", "khugepaged")


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


class PageHousekeepingState(TypedDict, total=False):
    """What a PageAllocator has beyond PageAllocatorState, by zone; none if plain x86-64 without fault."""

    profile: str
    arch: str
    min_free_kbytes: int | None
    khugepaged: bool
    online_cpus_of_node: list[tuple[int, int]]
    node_of_cpu: list[int]
    lists: list[PageListsState]
    numa: list[list[int]]
    fault: FaultInjectionState | None


@dataclass(slots=True)
class PageAllocator:
    """Zones of all nodes and the order in which they are tried.

    memory: ranges of physical addresses by node; a node may have none.
    distances: square table, 10 = local; its size says how many nodes there are.
    numa_hit, numa_miss: by node that gave the block: was it the one preferred? numa_foreign: by
    preferred node, blocks that another one had to give.
    fail_after: -1 never; n: n more injectable requests may succeed, then all fail until it is set
    again.
    online_cpus_of_node: how many; node_of_cpu: by CPU, for numa_local and numa_other.
    min_free_kbytes: as set by hand, None = as the kernel computes it; khugepaged: does transparent
    huge pages' daemon raise it (modern only)?
    fault: what else shall fail; change it with set_fault().
    version: grows with everything that may have changed the state, but for a new fail_after; it is
    no part of the state.
    """

    memory: dict[int, tuple[MemoryRange, ...]]
    distances: tuple[tuple[int, ...], ...]
    nodes_with_cpus: tuple[int, ...]
    fail_after: int = -1
    profile: str = PROFILE_PLAIN
    arch: str = ARCH_X86_64
    online_cpus_of_node: dict[int, int] = field(default_factory=dict)
    node_of_cpu: tuple[int, ...] = ()
    min_free_kbytes: int | None = None
    khugepaged: bool = True
    fault: FaultInjection | None = field(default=None, init=False)
    version: int = field(default=0, init=False, compare=False)
    zones: tuple[Zone, ...] = field(init=False)
    numa_hit: list[int] = field(init=False)
    numa_miss: list[int] = field(init=False)
    numa_foreign: list[int] = field(init=False)
    _zonelists: dict[tuple[int, int], tuple[Zone, ...]] = field(init=False, repr=False)
    _own_zones: dict[tuple[int, int], tuple[Zone, ...]] = field(init=False, repr=False)
    _is_stale: bool = field(default=True, init=False, repr=False, compare=False)
    _map: ZoneMap = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nr_nodes = len(self.distances)
        check_topology(self.memory, self.distances, self.nodes_with_cpus)
        check_arch(self.arch)
        if self.profile not in PROFILES:
            raise ConfigError(f"profile {self.profile!r}: expected one of {', '.join(PROFILES)}")
        self.numa_hit = [0] * nr_nodes
        self.numa_miss = [0] * nr_nodes
        self.numa_foreign = [0] * nr_nodes
        self._use_zones(
            tuple(
                zone
                for node in sorted(self.memory)
                for zone in build_zones(node, self.memory[node], self.arch)
            )
        )

    @property
    def nr_free_pages(self) -> int:
        """Free pages of all nodes, without those on CPUs' lists."""
        return sum(zone.buddy.nr_free_pages for zone in self.zones)

    @property
    def nr_list_pages(self) -> int:
        """Pages on the lists of all CPUs."""
        return sum(zone.nr_list_pages for zone in self.zones)

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
        self,
        *,
        gfp: int,
        order: int,
        node: int,
        cpu: int = 0,
        injectable: bool = False,
        caller: str = "",
    ) -> int | None:
        """Take a block of 2^order pages, as near to node as the flags and free memory permit.

        cpu: the one that asks, whose lists are used. caller: names of the functions on the way
        here, for fault injection. Returns the first pfn, or None: no memory, or an injected failure
        of an injectable request. Source: __alloc_pages(), Linux 6.1.
        """
        if order < 0:
            raise KernelBug(
                f"node {node} asked for a block of order {order}; the lowest order is 0"
            )
        self.version += 1
        if order > MAX_PAGE_ORDER or (injectable and self._fails_by_injection(gfp, order, caller)):
            return None
        highest = highest_zone(gfp, self.arch)
        zonelist = self._zonelists[node, highest]
        allowed = self._own_zones[node, highest] if gfp & GFP_THISNODE else zonelist
        if self.profile != PROFILE_PLAIN:
            return self._alloc_by_marks(gfp, order, node, cpu, allowed, highest)
        for zone in allowed:
            pfn = zone.buddy.alloc(order)
            if pfn is not None:
                self._count(zone.node, zonelist[0].node)
                return pfn
        return None

    def free_pages(self, pfn: int, order: int, cpu: int = 0, cold: bool = False) -> None:
        """Give back a block; DoubleFree if it is not allocated, BadAccess if it is not memory.

        cpu: the one that frees; cold: the page is not in its cache (2.6.20 only).
        """
        zone = self.zone_of_pfn(pfn)
        self.version += 1
        if zone.lists is None:
            zone.buddy.free(pfn, order)
            return
        if order:
            zone.lists.check_held(pfn)
            zone.buddy.free(pfn, order)
            return
        if self._is_stale:
            self._compute_figures()
        is_cold = cold and self.profile == PROFILE_2_6_20
        zone.lists.free(pfn, cpu, COLD if is_cold else HOT)

    def drain_cpu(self, cpu: int) -> int:
        """Give back what is on a CPU's lists, as when it goes offline; return how many pages."""
        self.version += 1
        return sum(zone.lists.drain_cpu(cpu) for zone in self.zones if zone.lists is not None)

    def drain_all(self) -> int:
        """Give back what is on all CPUs' lists; return how many pages."""
        self.version += 1
        return sum(zone.lists.drain_all() for zone in self.zones if zone.lists is not None)

    def set_online(self, node: int, nr_cpus: int) -> None:
        """Tell how many CPUs of a node are online; the lists of its zones change their size."""
        self.online_cpus_of_node[node] = nr_cpus
        self._is_stale = True
        self.version += 1

    def set_min_free_kbytes(self, min_free_kbytes: int | None) -> None:
        """Set the reserve as /proc/sys/vm/min_free_kbytes does, or None: as the kernel computes."""
        self.min_free_kbytes = min_free_kbytes
        self._is_stale = True
        self.version += 1

    def set_fault(self, fault: FaultInjection | None) -> None:
        """Let requests fail by these rules, or none but by fail_after."""
        self.fault = fault
        self.version += 1

    def effective_min_free_kbytes(self) -> int:
        """Return min_free_kbytes as it is in force; 0 without watermarks."""
        if self.profile != PROFILE_PLAIN and self.min_free_kbytes is not None:
            return self.min_free_kbytes
        return min_free_kbytes_of(self.zones, self.profile, self.khugepaged)

    def marks_of(self, zone: Zone) -> ZoneMarks:
        """Return a zone's watermarks and protection; all 0 in the plain profile."""
        if self._is_stale:
            self._compute_figures()
        return zone.marks

    def list_sizes_of(self, zone: Zone) -> tuple[ListSize, ...]:
        """Return high and batch of a zone's lists, hot before cold; none in the plain profile."""
        if self._is_stale:
            self._compute_figures()
        return zone.lists.sizes if zone.lists is not None else ()

    def owner_state_of(self, pfn: int) -> str:
        """Say what a page is: "free", "pcp cpu N", "reserved" or "allocated order K".

        Raises BadAccess if there is no such memory.
        """
        return self.zone_of_pfn(pfn).owner_state_of(pfn)

    def zone_of_pfn(self, pfn: int) -> Zone:
        """Return the zone that page pfn lies in; BadAccess if there is no such memory."""
        return self._map.zone_of_pfn(pfn)

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
        """Set memory of a node aside; return its physical address, or None: no hole is large enough.

        The highest place is taken, or with top_down=False the lowest, but never below min_phys,
        never page 0 and never high memory, which boot cannot reach. Size and alignment are rounded
        up to whole pages.
        Source: memblock_find_in_range_node(), Linux 6.1; falling back to other nodes is the
        caller's.
        """
        if not is_power_of_two(align_bytes) or nr_bytes <= 0:
            raise ConfigError(
                f"cannot reserve {nr_bytes} bytes aligned to {align_bytes} on node {node}"
            )
        nr_pages = align_up(nr_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        pfn = find_hole(
            free_lowmem_ranges(self.zones_of(node)),
            nr_pages=nr_pages,
            align_pages=max(align_bytes >> PAGE_SHIFT, 1),
            min_pfn=max(align_up(min_phys, PAGE_SIZE_BYTES) >> PAGE_SHIFT, 1),
            top_down=top_down,
        )
        if pfn is None:
            return None
        self._reserve_pages(pfn, pfn + nr_pages)
        return pfn << PAGE_SHIFT

    def reserve_at(self, start_phys: int, end_phys: int) -> None:
        """Set aside every page that these addresses touch.

        Raises BadAccess if part of it is no memory, KernelBug if part is not free.
        """
        end_pfn = align_up(end_phys, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        self._reserve_pages(start_phys >> PAGE_SHIFT, end_pfn)

    def release(self, start_phys: int, end_phys: int) -> None:
        """Free the reserved pages that lie whole in these addresses; DoubleFree if one is not
        reserved.

        Source: memblock_free() of memory whose end the caller did not need.
        """
        self._map.release(start_phys, end_phys)
        self._is_stale = True
        self.version += 1

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

    def dump_lists(self) -> PageHousekeepingState:
        """Return what dump() leaves out: profile, lists, counters of zones, fault injection."""
        if (self.profile, self.arch, self.fault) == (PROFILE_PLAIN, ARCH_X86_64, None):
            return {}
        is_plain = self.profile == PROFILE_PLAIN
        return {
            "profile": self.profile,
            "arch": self.arch,
            "min_free_kbytes": self.min_free_kbytes,
            "khugepaged": self.khugepaged,
            "online_cpus_of_node": [] if is_plain else sorted(self.online_cpus_of_node.items()),
            "node_of_cpu": [] if is_plain else list(self.node_of_cpu),
            "lists": [zone.lists.dump() if zone.lists else [] for zone in self.zones],
            "numa": [list(zone.numa) for zone in self.zones],
            "fault": self.fault.dump() if self.fault is not None else None,
        }

    @classmethod
    def load(
        cls, state: PageAllocatorState, lists: PageHousekeepingState | None = None
    ) -> PageAllocator:
        """Return a PageAllocator in the state that dump() and dump_lists() described."""
        more = lists or {}
        allocator = cls(
            memory={
                node: tuple((start, end) for start, end in ranges)
                for node, ranges in state["memory"]
            },
            distances=tuple(tuple(row) for row in state["distances"]),
            nodes_with_cpus=tuple(state["nodes_with_cpus"]),
            fail_after=state["fail_after"],
            profile=more.get("profile", PROFILE_PLAIN),
            arch=more.get("arch", ARCH_X86_64),
            online_cpus_of_node=dict(more.get("online_cpus_of_node", [])),
            node_of_cpu=tuple(more.get("node_of_cpu", ())),
            min_free_kbytes=more.get("min_free_kbytes"),
            khugepaged=more.get("khugepaged", True),
        )
        allocator._use_zones(tuple(Zone.load(zone, allocator.arch) for zone in state["zones"]))
        allocator.numa_hit = list(state["numa_hit"])
        allocator.numa_miss = list(state["numa_miss"])
        allocator.numa_foreign = list(state["numa_foreign"])
        for zone, numa in zip(allocator.zones, more.get("numa", []), strict=False):
            zone.numa = list(numa)
        for zone, rows in zip(allocator.zones, more.get("lists", []), strict=False):
            if zone.lists is not None:
                zone.lists.load(rows)
        fault = more.get("fault")
        allocator.fault = FaultInjection.load(fault) if fault is not None else None
        return allocator

    def restore(
        self, state: PageAllocatorState, lists: PageHousekeepingState | None = None
    ) -> None:
        """Go to a dumped state, in place; version goes on growing. What is no state there stays."""
        version = self.version + 1
        loaded = PageAllocator.load(state, lists)
        kept = _NOT_PLAIN if loaded.profile == PROFILE_PLAIN else ()
        for slot in fields(self):
            if slot.name not in kept:
                setattr(self, slot.name, getattr(loaded, slot.name))
        self.version = version

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
        if self.fault is not None:
            self.fault.check_invariants()
        if self.profile != PROFILE_PLAIN:
            check_numa_counters(self.zones, (self.numa_hit, self.numa_miss, self.numa_foreign))
            if not self._is_stale:
                check_figures(self.zones, self._figures())

    def _use_zones(self, zones: tuple[Zone, ...]) -> None:
        """Take over zones and derive from them who is tried when and which pages are whose."""
        self.zones = zones
        self._map = ZoneMap(zones)
        nodes_with_memory = tuple(dict.fromkeys(zone.node for zone in zones))
        fallback_orders = build_fallback_orders(
            self.distances, nodes_with_memory, self.nodes_with_cpus
        )
        self._zonelists = build_zonelists(zones, fallback_orders)
        self._own_zones = {
            (node, highest): tuple(zone for zone in zonelist if zone.node == node)
            for (node, highest), zonelist in self._zonelists.items()
        }
        self._is_stale = True
        for zone in zones:
            if zone.lists is None and self.profile != PROFILE_PLAIN:
                zone.lists = PageLists(zone.buddy, self.profile)
                zone.buddy.keeps_halves = self.profile == PROFILE_MODERN

    def _compute_figures(self) -> None:
        """Derive watermarks and list sizes anew."""
        self._is_stale = False
        if self.profile != PROFILE_PLAIN:
            set_figures(self.zones, self._figures())

    def _figures(self) -> tuple[Figures, ...]:
        return figures_of(
            self.zones,
            profile=self.profile,
            min_free_kbytes=self.effective_min_free_kbytes(),
            online_cpus_of_node=self.online_cpus_of_node,
        )

    def _alloc_by_marks(
        self, gfp: int, order: int, node: int, cpu: int, allowed: tuple[Zone, ...], highest: int
    ) -> int | None:
        if self._is_stale:
            self._compute_figures()
        call = PageCall(gfp, order, cpu, allowed, highest, self.profile)
        got = fast_page(call) or slow_page(call, self.drain_all)
        if got is None:
            return None
        zone, pfn = got
        preferred = self._zonelists[node, highest][0]
        self._count(zone.node, preferred.node)
        running_node = self.node_of_cpu[cpu] if cpu < len(self.node_of_cpu) else node
        zone.count_numa(preferred, running_node)
        return pfn

    def _fails_by_injection(self, gfp: int, order: int, caller: str) -> bool:
        if self.fail_after > 0:
            self.fail_after -= 1
        elif self.fail_after == 0:
            return True
        return self.fault is not None and self.fault.should_fail(
            gfp=gfp, order=order, caller=caller
        )

    def _count(self, given_by: int, preferred: int) -> None:
        """Source: zone_statistics(), Linux 6.1."""
        if given_by == preferred:
            self.numa_hit[given_by] += 1
        else:
            self.numa_miss[given_by] += 1
            self.numa_foreign[preferred] += 1

    def _reserve_pages(self, start_pfn: int, end_pfn: int) -> None:
        self._map.reserve(start_pfn, end_pfn)
        self._is_stale = True
        self.version += 1
