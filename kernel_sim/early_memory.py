"""Memory while a machine boots: set aside from the top of a node, before the page allocator hands it out.

Source: memblock_alloc_try_nid() and what arch/x86/mm/init.c takes tables from, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernel_sim.config import MachineConfig
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.topology import Topology


@dataclass(frozen=True, slots=True)
class EarlyMemory:
    """What may be set aside, and the description that says for whom."""

    config: MachineConfig
    topology: Topology
    pages: PageAllocator

    def reserve_near(self, node: int, *, nr_bytes: int, align_bytes: int) -> int | None:
        """Set memory aside on the node, or on the nearest with room; its physical address or None."""
        return reserve_near(self.pages, node, nr_bytes=nr_bytes, align_bytes=align_bytes)


def reserve_near(pages: PageAllocator, node: int, *, nr_bytes: int, align_bytes: int) -> int | None:
    """Set memory aside on the node, or on the nearest that has room; its physical address or None."""
    phys = pages.reserve(node=node, nr_bytes=nr_bytes, align_bytes=align_bytes)
    if phys is not None:
        return phys
    for candidate in pages.fallback_order(node):
        phys = pages.reserve(node=candidate, nr_bytes=nr_bytes, align_bytes=align_bytes)
        if phys is not None:
            return phys
    return None


def early_tables(pages: PageAllocator) -> Callable[[int, int], int | None]:
    """Return how boot gets a page for a table: from the top of a node, before the buddy runs."""

    def table_page(node: int, cpu: int = 0) -> int | None:
        phys = reserve_near(pages, node, nr_bytes=PAGE_SIZE_BYTES, align_bytes=PAGE_SIZE_BYTES)
        return None if phys is None else phys >> PAGE_SHIFT

    return table_page
