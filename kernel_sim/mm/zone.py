"""Zones: a node's memory, cut where devices with short addresses stop reaching it.

    0          16 MiB              4 GiB                        x86-64
    |   DMA    |       DMA32       |       Normal …

    0          16 MiB              896 MiB                      i386
    |   DMA    |       Normal      |       HighMem …            no permanent kernel mapping

A zone exists only where its node has memory. Besides its buddy allocator it may have lists of
single pages for every CPU and watermarks; page_alloc.py says when.
Source: arch/x86/mm/init.c, zone_sizes_init(), Linux 6.14; include/asm-i386/dma.h, 2.6.20.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypedDict

from kernel_sim.alignment import align_down, align_up
from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.buddy import Buddy, BuddyState, PfnRange
from kernel_sim.mm.gfp import GFP_DMA, GFP_DMA32, GFP_HIGHMEM
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_lists import PageLists
from kernel_sim.mm.watermarks import NO_MARKS, ZoneMarks, ZoneSize

MemoryRange = tuple[int, int]
"""First physical address and the one after the last."""

ZONE_NAMES: Final = ("DMA", "DMA32", "Normal")
ZONE_DMA: Final = 0
ZONE_DMA32: Final = 1
ZONE_NORMAL: Final = 2

ARCH_X86_64: Final = "x86-64"
ARCH_I386: Final = "i386"
ZONE_I386_NORMAL: Final = 1
ZONE_I386_HIGHMEM: Final = 2

ZONE_NAMES_OF: Final = MappingProxyType(
    {ARCH_X86_64: ZONE_NAMES, ARCH_I386: ("DMA", "Normal", "HighMem")}
)
"""Names of an architecture's zones, low memory first; the position is the zone's index."""

_LIMITS_OF: Final = MappingProxyType(
    {
        ARCH_X86_64: (0, 16 << 20 >> PAGE_SHIFT, 4 << 30 >> PAGE_SHIFT, 1 << 52),
        ARCH_I386: (0, 16 << 20 >> PAGE_SHIFT, 896 << 20 >> PAGE_SHIFT, 1 << 24),
    }
)
"""First pfn of each zone and the one after the last; i386 with PAE reaches 64 GiB."""

NUMA_COUNTERS: Final = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")
NUMA_HIT: Final = 0
NUMA_MISS: Final = 1
NUMA_FOREIGN: Final = 2
NUMA_LOCAL: Final = 3
NUMA_OTHER: Final = 4


class ZoneState(TypedDict):
    """A Zone as builtin types."""

    name: str
    node: int
    buddy: BuddyState


@dataclass(slots=True)
class Zone:
    """One zone of one node; all its pages are in its buddy allocator.

    lists: per-CPU page lists, None where the profile has none; their pages count as allocated in
    the buddy allocator and as not in use here. numa: counters in the order of NUMA_COUNTERS.
    """

    name: str
    node: int
    buddy: Buddy
    arch: str = ARCH_X86_64
    lists: PageLists | None = None
    marks: ZoneMarks = NO_MARKS
    numa: list[int] = field(default_factory=lambda: [0] * len(NUMA_COUNTERS))

    @property
    def index(self) -> int:
        """Place among the architecture's zones, low memory first: 0 is DMA."""
        return ZONE_NAMES_OF[self.arch].index(self.name)

    @property
    def is_highmem(self) -> bool:
        """Say whether the kernel has no permanent mapping of its pages."""
        return self.name == "HighMem"

    @property
    def nr_managed_pages(self) -> int:
        """Pages that the page allocator has to do with: present and not set aside."""
        return self.buddy.nr_present_pages - self.buddy.nr_reserved_pages

    @property
    def nr_list_pages(self) -> int:
        """Pages on the CPUs' lists: in nobody's use, but not counted as free (NR_FREE_PAGES)."""
        return self.lists.nr_pages if self.lists is not None else 0

    def size(self) -> ZoneSize:
        """Return the figures from which watermarks are computed."""
        return ZoneSize(
            node=self.node,
            index=self.index,
            nr_present_pages=self.buddy.nr_present_pages,
            nr_managed_pages=self.nr_managed_pages,
            is_highmem=self.is_highmem,
        )

    def allocated_blocks(self) -> tuple[tuple[int, int], ...]:
        """Return (pfn, order) of every block that somebody holds: the pages on lists left out."""
        lists = self.lists
        return tuple(
            (pfn, order)
            for pfn, order in self.buddy.allocated.items()
            if lists is None or pfn not in lists.cpu_of_page
        )

    def count_numa(self, preferred: Zone, running_node: int) -> None:
        """Count a block that this zone gave, asked of another one maybe, by a CPU of a node.

        Source: zone_statistics(), Linux 6.1.
        """
        self.numa[NUMA_LOCAL if self.node == running_node else NUMA_OTHER] += 1
        if self.node == preferred.node:
            self.numa[NUMA_HIT] += 1
        else:
            self.numa[NUMA_MISS] += 1
            preferred.numa[NUMA_FOREIGN] += 1

    def owner_state_of(self, pfn: int) -> str:
        """Say what page pfn of this zone is: free, on a CPU's list, reserved, or allocated."""
        if self.lists is not None and pfn in self.lists.cpu_of_page:
            return f"pcp cpu {self.lists.cpu_of_page[pfn]}"
        order = self.buddy.held_order_at(pfn)
        if order is not None:
            return f"allocated order {order}"
        return "reserved" if self.buddy.is_reserved(pfn, pfn + 1) else "free"

    def dump(self) -> ZoneState:
        """Return the whole state as builtin types."""
        return {"name": self.name, "node": self.node, "buddy": self.buddy.dump()}

    @classmethod
    def load(cls, state: ZoneState, arch: str = ARCH_X86_64) -> Zone:
        """Return a Zone in the state that dump() described, its lists empty."""
        return cls(state["name"], state["node"], Buddy.load(state["buddy"]), arch)

    def check_invariants(self) -> None:
        """Raise InvariantBroken if memory lies outside the zone's limits or its blocks disagree."""
        limits = _LIMITS_OF[self.arch]
        low_pfn, high_pfn = limits[self.index], limits[self.index + 1]
        if self.buddy.start_pfn < low_pfn or self.buddy.end_pfn > high_pfn:
            raise InvariantBroken(
                f"node {self.node} zone {self.name} holds pages {self.buddy.start_pfn:#x}-"
                f"{self.buddy.end_pfn:#x}, its limits are {low_pfn:#x}-{high_pfn:#x}"
            )
        self.buddy.check_invariants()
        if self.lists is not None:
            self.lists.check_invariants()


def check_arch(arch: str) -> None:
    """Raise ConfigError if nobody knows the zones of an architecture."""
    if arch not in ZONE_NAMES_OF:
        raise ConfigError(f"arch {arch!r}: expected one of {', '.join(ZONE_NAMES_OF)}")


def highest_zone(gfp: int, arch: str = ARCH_X86_64) -> int:
    """Return the index of the highest zone a request may be served from.

    On x86-64 high memory and movable pages come from Normal; on i386 __GFP_DMA32 means Normal, and
    only __GFP_HIGHMEM reaches HighMem. Source: gfp_zone() in linux/gfp.h, 6.1.
    """
    if gfp & GFP_DMA:
        return ZONE_DMA
    if arch == ARCH_I386:
        return ZONE_I386_HIGHMEM if gfp & GFP_HIGHMEM else ZONE_I386_NORMAL
    return ZONE_DMA32 if gfp & GFP_DMA32 else ZONE_NORMAL


def whole_pages(memory_ranges: tuple[MemoryRange, ...]) -> tuple[PfnRange, ...]:
    """Return the pages that lie whole in ranges of physical addresses."""
    pages = tuple(
        (
            align_up(start, PAGE_SIZE_BYTES) >> PAGE_SHIFT,
            align_down(end, PAGE_SIZE_BYTES) >> PAGE_SHIFT,
        )
        for start, end in memory_ranges
    )
    return tuple((start_pfn, end_pfn) for start_pfn, end_pfn in pages if start_pfn < end_pfn)


def build_zones(
    node: int, memory_ranges: tuple[MemoryRange, ...], arch: str = ARCH_X86_64
) -> tuple[Zone, ...]:
    """Return the zones that a node has memory in, low ones first; all of it is free.

    Raises ConfigError if ranges overlap or lie beyond what the architecture can address.
    """
    zones: list[Zone] = []
    pages = whole_pages(memory_ranges)
    limits = _LIMITS_OF[arch]
    for start_pfn, end_pfn in pages:
        if end_pfn > limits[-1]:
            raise ConfigError(
                f"node {node}: memory at {start_pfn << PAGE_SHIFT:#x}-{end_pfn << PAGE_SHIFT:#x} "
                f"lies beyond {limits[-1] << PAGE_SHIFT:#x}, the end of what {arch} can address"
            )
    for index, name in enumerate(ZONE_NAMES_OF[arch]):
        inside = [
            (max(start_pfn, limits[index]), min(end_pfn, limits[index + 1]))
            for start_pfn, end_pfn in pages
        ]
        parts = tuple((low, high) for low, high in inside if low < high)
        if parts:
            zones.append(Zone(name, node, Buddy(parts), arch))
    return tuple(zones)
