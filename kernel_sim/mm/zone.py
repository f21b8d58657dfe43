"""Zones: a node's memory, cut where devices with short addresses stop reaching it.

    0          16 MiB              4 GiB                        x86-64
    |   DMA    |       DMA32       |       Normal …

A zone exists only where its node has memory. Source: arch/x86/mm/init.c, zone_sizes_init(), Linux
6.14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from kernel_sim.alignment import align_down, align_up
from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.buddy import Buddy, BuddyState, PfnRange
from kernel_sim.mm.gfp import GFP_DMA, GFP_DMA32
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

MemoryRange = tuple[int, int]
"""First physical address and the one after the last."""

ZONE_NAMES: Final = ("DMA", "DMA32", "Normal")
ZONE_DMA: Final = 0
ZONE_DMA32: Final = 1
ZONE_NORMAL: Final = 2

_LIMITS: Final = (0, 16 << 20 >> PAGE_SHIFT, 4 << 30 >> PAGE_SHIFT, 1 << 52)


class ZoneState(TypedDict):
    """A Zone as builtin types."""

    name: str
    node: int
    buddy: BuddyState


@dataclass(slots=True)
class Zone:
    """One zone of one node; all its pages are in its buddy allocator."""

    name: str
    node: int
    buddy: Buddy

    @property
    def index(self) -> int:
        """Place among the zones, low memory first: 0 DMA, 1 DMA32, 2 Normal."""
        return ZONE_NAMES.index(self.name)

    def dump(self) -> ZoneState:
        """Return the whole state as builtin types."""
        return {"name": self.name, "node": self.node, "buddy": self.buddy.dump()}

    @classmethod
    def load(cls, state: ZoneState) -> Zone:
        """Return a Zone in the state that dump() described."""
        return cls(state["name"], state["node"], Buddy.load(state["buddy"]))

    def check_invariants(self) -> None:
        """Raise InvariantBroken if memory lies outside the zone's limits or its blocks disagree."""
        low_pfn, high_pfn = _LIMITS[self.index], _LIMITS[self.index + 1]
        if self.buddy.start_pfn < low_pfn or self.buddy.end_pfn > high_pfn:
            raise InvariantBroken(
                f"node {self.node} zone {self.name} holds pages {self.buddy.start_pfn:#x}-"
                f"{self.buddy.end_pfn:#x}, its limits are {low_pfn:#x}-{high_pfn:#x}"
            )
        self.buddy.check_invariants()


def highest_zone(gfp: int) -> int:
    """Return the index of the highest zone a request may be served from.

    On x86-64 high memory and movable pages come from Normal. Source: gfp_zone() in linux/gfp.h,
    6.1.
    """
    if gfp & GFP_DMA:
        return ZONE_DMA
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


def build_zones(node: int, memory_ranges: tuple[MemoryRange, ...]) -> tuple[Zone, ...]:
    """Return the zones that a node has memory in, low ones first; all of it is free.

    Raises ConfigError if ranges overlap.
    """
    zones: list[Zone] = []
    pages = whole_pages(memory_ranges)
    for index, name in enumerate(ZONE_NAMES):
        inside = [
            (max(start_pfn, _LIMITS[index]), min(end_pfn, _LIMITS[index + 1]))
            for start_pfn, end_pfn in pages
        ]
        parts = tuple((low, high) for low, high in inside if low < high)
        if parts:
            zones.append(Zone(name, node, Buddy(parts)))
    return tuple(zones)
